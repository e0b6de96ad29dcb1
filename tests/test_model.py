"""CLAVER as one model: what must not change, and that it is the recogniser of the host."""
import copy
from hashlib import sha256

import open_clip
import pytest
import torch
from mmaction.registry import MODELS
from test_weights import PublishedCLAVER
from toy import TINY

from claver_mm import CLAVER, create_model
from claver_mm.evaluation_mode import EvaluationMode
from claver_mm.weights import WeightsDoNotFit


def recogniser(pattern: str | None = "kmt", pool="class_token", **neck):
    """A tiny recogniser of the host, in evaluation mode."""
    neck = None if pattern is None else dict(dict(type="TemporalNeck", pattern=pattern, arch=TINY, num_frames=4,
                                                  depth=2, embedding_std=0.5), **neck)
    return MODELS.build(dict(
        type="Recognizer3D", data_preprocessor=dict(type="ActionDataPreprocessor", format_shape="NCTHW"),
        backbone=dict(type="CLIPBackbone", arch=TINY), neck=neck,
        cls_head=dict(type="ContrastiveTextHead", arch=TINY, classes=["jumping", "running"], pool=pool))).eval()


@pytest.mark.parametrize("pattern, neck, keys, logits", [
    ("kmt", {}, "7db922cb112af654", [-0.9216, -1.9057, 0.5787, -0.9414]),
    ("kmct", dict(class_tokens_only=True), "7db922cb112af654", [-0.506, -1.5538, 0.5448, -0.7277]),
    ("joint", dict(embed_dims=32, num_heads=2), "ad0d8f8f28e238d5", [-0.944, 0.7465, 0.7187, 1.1592]),
    (None, {}, "9011d796e8048cf5", [-4.1638, 0.1464, -4.3697, -3.2973])])
def test_keys_and_logits_of_a_seed_stay(pattern, neck, keys, logits, monkeypatch):
    """Checkpoints are read by these names, and a seed gives these numbers, whatever is moved about.

    PyTorch 2.6 and 2.14 draw the same normal numbers of a seed, but not the same truncated ones.
    """
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", torch.nn.init.normal_)
    torch.manual_seed(0)
    model = recogniser(pattern, **neck)
    if neck.get("embed_dims"):
        torch.nn.init.normal_(model.neck.project[1].weight, std=0.2)
    assert sha256("\n".join(sorted(model.state_dict())).encode()).hexdigest()[:16] == keys
    with torch.no_grad():
        found = model(torch.randn(1, 1, 3, 4, 32, 32), stage="head")[0, :2].flatten()
    assert found.tolist() == pytest.approx(logits, abs=1e-3)


@pytest.mark.parametrize("pattern, pool", [("kmt", "class_token"), ("pipeline", "mean"), (None, "class_token")])
def test_the_claver_of_a_recogniser_is_the_recogniser(pattern, pool):
    model = recogniser(pattern, pool)
    claver, clips = CLAVER.of(model), torch.randn(2, 3, 4, 32, 32)
    assert CLAVER.of(claver) is claver
    assert {id(p) for p in claver.parameters()} == {id(p) for p in model.parameters()}
    with torch.no_grad():
        assert torch.equal(claver(clips, claver.own_texts.tokens), model(clips.unsqueeze(1), stage="head"))
        assert torch.equal(claver.video_features(clips), claver.frame_features(clips).mean(1))
        tokens = claver.tokenize(["jumping", "a dog"])
        assert claver.text_features(tokens).shape == (2, 32)
        assert claver.logits(claver.video_features(clips), claver.text_features(tokens)).shape == (2, 1, 2)
    model.cls_head.set_texts(["a", "b", "c"])
    assert len(claver.own_texts) == 3
    assert copy.deepcopy(claver).own_texts.digest == claver.own_texts.digest


def test_what_is_missing_of_a_claver_is_named():
    model = recogniser()
    model.neck = torch.nn.Identity()
    with pytest.raises(ValueError, match="a TemporalNeck or no neck, got Identity"):
        CLAVER.of(model)
    with pytest.raises(ValueError, match="no CLAVER in this Linear.*got NoneType and NoneType"):
        CLAVER.of(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("pattern, neck", [("kmt", dict(class_tokens_only=True)), (None, {}),
                                           ("kmct", dict(embed_dims=32, num_heads=1, class_tokens_only=True))])
def test_a_model_by_name_takes_checkpoints_of_recognisers_and_its_own(pattern, neck, tmp_path):
    model, clips = recogniser(pattern, **neck), torch.randn(1, 3, 4, 32, 32)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "recogniser.pth")
    how = dict(pattern=pattern, num_frames=4, depth=2, embed_dims=neck.get("embed_dims"))
    ours = create_model(TINY, checkpoint=tmp_path / "recogniser.pth", **how)
    assert not ours.training and ours.own_texts is None
    with torch.no_grad():
        expected = CLAVER.of(model).video_features(clips)
        assert torch.equal(ours.video_features(clips), expected)
        again = create_model(TINY, checkpoint=ours.state_dict(), **how)
        assert torch.equal(again.video_features(clips), expected)


def test_a_model_by_name_takes_the_published_checkpoint():
    published = PublishedCLAVER(TINY, 8, True).eval()
    model = create_model(TINY, pattern="kmct", checkpoint=published.state_dict())
    clips, tokens = torch.randn(1, 3, 8, 32, 32), model.tokenize(["jumping", "running"]).unsqueeze(1)
    with torch.no_grad():
        assert torch.allclose(model(clips, tokens), published.video_logits(clips, tokens), atol=1e-4)


def test_a_checkpoint_that_does_not_fit_is_named(tmp_path):
    torch.save(recogniser(None).state_dict(), tmp_path / "mean.pth")
    with pytest.raises(WeightsDoNotFit, match="mean.pth does not fit the model; missing: temporal.temporal_embedding"):
        create_model(TINY, num_frames=4, depth=2, checkpoint=tmp_path / "mean.pth")
    with pytest.raises(ValueError, match="unknown attention pattern 'kmtt'"):
        create_model(TINY, pattern="kmtt")


def test_pretrained_clip_weights_go_into_both_towers(tmp_path):
    clip = open_clip.CustomTextCLIP(**{key: value for key, value in TINY.items()}).eval()
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    model, frames = create_model(TINY, str(tmp_path / "clip.pt"), pattern="mean"), torch.randn(1, 3, 2, 32, 32)
    tokens = model.tokenize(["jumping"])
    with torch.no_grad():
        expected = clip.encode_image(frames[0].transpose(0, 1), normalize=True)
        assert torch.allclose(model.frame_features(frames)[0], expected, atol=1e-5)
        assert torch.allclose(model.text_features(tokens), clip.encode_text(tokens, normalize=True), atol=1e-5)


def test_a_model_is_in_evaluation_mode_while_it_is_asked_and_then_as_it_was():
    """Training mode that was left on changed scores: texts were drawn, drop path was on."""
    claver = CLAVER.of(recogniser())
    claver.visual.train()
    before = {name: module.training for name, module in claver.named_modules()}
    asked = EvaluationMode(claver)
    with asked:
        with asked:
            assert not any(module.training for module in claver.modules())
        assert not any(module.training for module in claver.modules())
    assert {name: module.training for name, module in claver.named_modules()} == before and any(before.values())
