"""Schedules end with the run."""
import pytest

from claver_mm.settings import complete
from claver_mm.settings.schedule import has_a_step, stretch

WARM_UP = dict(type="LinearLR", begin=0, end=5, convert_to_iter_based=True)
COSINE = dict(type="CosineAnnealingLR", begin=5, convert_to_iter_based=True)
STEPS = dict(type="MultiStepLR", begin=0, end=100, by_epoch=True, milestones=[40, 80])


def planned(epochs, *schedulers, **train_cfg):
    cfg = complete(dict(train_cfg=dict(max_epochs=epochs, **train_cfg), param_scheduler=list(schedulers)))
    return [(each["begin"], each["end"]) for each in cfg["param_scheduler"]], cfg


@pytest.mark.parametrize("epochs, ends", [(60, [(0, 5), (5, 60)]), (20, [(0, 5), (5, 20)]),
                                          (5, [(0, 1.25), (1.25, 5)]), (2, [(0, .5), (.5, 2)]),
                                          (1, [(0, .25), (.25, 1)])])
def test_a_schedule_without_an_end_ends_with_the_run(epochs, ends):
    """A run of two epochs ended at 97 % of the top rate; one of one epoch was warm-up all through."""
    found, cfg = planned(epochs, WARM_UP, COSINE)
    assert found == ends
    assert ("derived" in cfg) == (epochs < 20) and complete(cfg) == cfg


@pytest.mark.parametrize("schedulers, epochs, says", [
    ([STEPS], 60, r"param_scheduler.0 ends at 100, and the run at 60 \(train_cfg\)"),
    ([dict(WARM_UP), dict(COSINE, end=60)], 80, "param_scheduler ends at 60, and the run at 80"),
    ([dict(WARM_UP), dict(COSINE, end=60)], 5, "param_scheduler.1 begins at 5, and the run ends at 5"),
    ([dict(COSINE)], 3, "param_scheduler.0 begins at 5, and the run ends at 3"),
])
def test_a_written_end_that_is_not_the_runs_is_refused(schedulers, epochs, says):
    with pytest.raises(ValueError, match=says):
        planned(epochs, *schedulers)


def test_a_warm_up_alone_may_end_before_the_run_and_iterations_are_left_alone():
    by_iteration = dict(type="LinearLR", by_epoch=False, begin=0, end=500)
    assert planned(60, WARM_UP)[0] == [(0, 5)] and planned(2, by_iteration)[0] == [(0, 500)]


def test_a_schedule_of_iterations_ends_with_a_run_of_iterations():
    cosine = dict(type="CosineAnnealingLR", by_epoch=False, begin=0)
    cfg = complete(dict(train_cfg=dict(by_epoch=False, max_iters=300), param_scheduler=cosine))
    assert cfg["param_scheduler"]["end"] == 300


def test_the_first_validation_comes_at_the_end_of_a_shorter_run():
    """Few-shot configs validate from epoch 80 on: a shorter run never did, and kept no best checkpoint."""
    cfg = planned(2, WARM_UP, COSINE, val_begin=80, val_interval=80)[1]
    assert cfg["train_cfg"]["val_begin"] == 2 and any("val_begin" in note for note in cfg["derived"])


def test_a_schedule_that_is_written_out_is_stretched():
    cfg = dict(train_cfg=dict(max_epochs=100), param_scheduler=[dict(STEPS)])
    assert stretch(cfg, 5) == ["param_scheduler.0: stretched from a run of 100 epochs to one of 5"]
    assert cfg["param_scheduler"][0] == dict(STEPS, end=5, milestones=[2, 4])
    by_epoch = [dict(type="LinearLR", begin=0, end=34), dict(type="CosineAnnealingLR", begin=34, end=150, T_max=116)]
    cfg = dict(train_cfg=dict(max_epochs=150), param_scheduler=by_epoch)
    stretch(cfg, 1)
    assert cfg["param_scheduler"] == [dict(type="CosineAnnealingLR", begin=0, end=1, T_max=1)]
    cfg = dict(train_cfg=dict(max_epochs=60), param_scheduler=[dict(WARM_UP), dict(COSINE, end=60, T_max=55)])
    stretch(cfg, 30)
    assert [each["end"] for each in cfg["param_scheduler"]] == [2.5, 30]
    assert cfg["param_scheduler"][1]["T_max"] == 27.5 and stretch(cfg, 60) == []


def test_a_warm_up_of_less_than_an_iteration_is_none():
    """MMEngine refuses one: ``end should be larger than begin``."""
    assert not has_a_step(dict(WARM_UP, end=0.25), 3) and has_a_step(dict(WARM_UP, end=0.25), 4)
    assert has_a_step(dict(COSINE), 1)
