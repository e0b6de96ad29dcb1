"""Vectors that are learnt beside the texts of classes: whose they are, what they begin as, that they train and load."""
import pytest
import torch
from heads import CLASSES, head, samples

from claver_mm.models import ContrastiveTextHead


@pytest.fixture()
def moved():
    """A head whose second class lies elsewhere than its texts."""
    torch.manual_seed(0)
    model = head(text_offsets=True, frozen_text=True).eval()
    with torch.no_grad():
        model.clip.text_offsets[1] += torch.randn(model.clip.embed_dim)
    return model


def test_they_begin_as_nothing():
    torch.manual_seed(0)
    plain = head().eval()
    torch.manual_seed(0)
    model = head(text_offsets=True).eval()
    torch.testing.assert_close(model.text_features(), plain.text_features())
    assert set(model.state_dict()) - set(plain.state_dict()) == {"clip.text_offsets"}


def test_a_class_is_its_texts_and_its_offset(moved):
    texts = moved.clip.kept_text_features(moved.texts)
    with torch.no_grad():
        plain = moved.clip.text_features(moved.text_tokens)
        by_hand = torch.nn.functional.normalize(plain + moved.clip.text_offsets[:, None], dim=-1)
    torch.testing.assert_close(texts, by_hand)


def test_it_goes_with_its_class_among_others_and_other_classes_have_none(moved):
    own = moved.clip.kept_text_features(moved.texts)
    beside = moved.texts.beside(["something else"], moved._tokenize)
    found = moved.clip.kept_text_features(beside)
    torch.testing.assert_close(found[:len(CLASSES)], own)
    with torch.no_grad():
        torch.testing.assert_close(found[-1], moved.clip.text_features(beside.tokens)[-1])
    other = head(classes=["a", "b"]).texts
    with torch.no_grad():
        assert torch.equal(moved.clip.kept_text_features(other), moved.clip.text_features(other.tokens))


@pytest.mark.parametrize("frozen", [False, True])
def test_they_train_whether_the_text_tower_does_or_not(frozen):
    model = head(text_offsets=True, frozen_text=frozen).train()
    logits = model(torch.randn(2, 3, 16, 64))
    model.loss_by_feat(logits, samples([0, 1]))["loss_cls"].backward()
    assert model.clip.text_offsets.grad.abs().sum(dim=1).min() > 0
    assert (model.clip.text.token_embedding.weight.grad is None) == frozen


def test_offsets_of_no_classes_are_refused():
    with pytest.raises(ValueError, match="text_offsets are those of classes, and there are none"):
        ContrastiveTextHead(arch=head().arch, text_offsets=True)
