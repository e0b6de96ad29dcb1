"""Which classes are new."""
import pytest
from splits import classes_of

from claver_mm.protocols import base_and_novel, kinetics600_zero_shot

K400, K600 = (classes_of(name) for name in ("kinetics400", "kinetics600"))


def test_kinetics600_has_220_new_classes_and_three_draws_of_160():
    facts = kinetics600_zero_shot()
    assert [len(facts.novel), *map(len, facts.draws)] == [220, 160, 160, 160]
    assert all(len(set(draw)) == 160 and set(draw) <= set(facts.novel) for draw in facts.draws)
    assert len(set(facts.draws)) == 3


def test_new_classes_are_in_kinetics600_and_not_in_kinetics400_under_any_name():
    facts = kinetics600_zero_shot()
    assert len(facts.renamed) == 12 and set(facts.renamed) <= set(K400)
    assert set(facts.novel) == set(K600) - set(K400) - set(facts.renamed.values())


def test_draws_keep_the_order_of_the_class_list():
    assert all(list(draw) == [name for name in K600 if name in draw] for draw in kinetics600_zero_shot().draws)


@pytest.mark.parametrize("dataset, base, novel", [("ucf101", 51, 50), ("hmdb51", 26, 25)])
def test_base_classes_are_the_first_half_rounded_up(dataset, base, novel):
    old, new = base_and_novel(classes_of(dataset))
    assert (len(old), len(new)) == (base, novel) and old + new == classes_of(dataset)


def test_base_classes_may_be_chosen():
    assert base_and_novel(["a", "b", "c", "d"], base=["d", "b"]) == (["b", "d"], ["a", "c"])
    with pytest.raises(ValueError, match="base class 'e' is none of the 2 classes"):
        base_and_novel(["a", "b"], ["e"])
    for base in ([], ["a", "b"]):
        with pytest.raises(ValueError, match="both are needed"):
            base_and_novel(["a", "b"], base)
