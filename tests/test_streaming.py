"""Frame by frame gives what the whole clip gives, for the whole recogniser."""
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from toy import TINY

from claver_mm import CLAVER, create_model
from claver_mm.attention import PATTERNS
from claver_mm.streaming import TemporalStream, VideoStream
from claver_mm.temporal import KroneckerTransformer


def recogniser(pattern="kmct", num_frames=6, depth=3, pool="class_token", **neck):
    model = MODELS.build(dict(
        type="Recognizer3D",
        data_preprocessor=dict(type="ActionDataPreprocessor", format_shape="NCTHW"),
        backbone=dict(type="CLIPBackbone", arch=TINY),
        neck=dict(type="TemporalNeck", pattern=pattern, arch=TINY, num_frames=num_frames, depth=depth,
                  embedding_std=0.5, **neck),
        cls_head=dict(type="ContrastiveTextHead", arch=TINY, classes=["jumping", "running"],
                      pool=pool)))
    return model.eval()


def offline(model, frames):
    """Frame features ``(B, T, E)`` and logits of a clip ``(B, 3, T, h, w)``."""
    with torch.no_grad():
        feats, _ = model.extract_feat(frames.unsqueeze(1), test_mode=True)
        return model.cls_head.frame_features(feats), model.cls_head(feats)


@pytest.mark.parametrize("class_tokens_only, pool", [(False, "class_token"), (True, "class_token"), (False, "mean")])
def test_a_stream_of_kmct_gives_the_features_of_the_clip_at_every_step(class_tokens_only, pool):
    """With ``pool='mean'`` the stream read the class tokens all the same."""
    model = recogniser(class_tokens_only=class_tokens_only, pool=pool)
    frames = torch.randn(2, 3, 6, 32, 32)
    features, logits = offline(model, frames)
    stream = VideoStream(model)
    for t in range(6):
        out = stream.push(frames[:, :, t])
        assert torch.allclose(out.frame_features[:, 0], features[:, t], atol=1e-5), t
        assert torch.allclose(out.video_features, features[:, :t + 1].mean(1), atol=1e-5), t
    assert torch.allclose(out.logits, logits, atol=1e-4)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_sliding_window_gives_the_features_of_its_clip(pattern):
    model = recogniser(pattern, class_tokens_only=True)
    frames = torch.randn(1, 3, 9, 32, 32)
    stream = VideoStream(model, beyond="window")
    for t in range(9):
        out = stream.push(frames[:, :, t])
        features, logits = offline(model, frames[:, :, max(0, t - 5):t + 1])
        assert torch.allclose(out.frame_features, features, atol=1e-5), t
        assert torch.allclose(out.logits, logits, atol=1e-4), t


def test_a_sliding_window_encodes_every_frame_once(monkeypatch):
    stream = VideoStream(recogniser(), beyond="window")
    seen = []
    encode = stream.model.image_tokens
    monkeypatch.setattr(stream.model, "image_tokens", lambda x: seen.append(x.shape[2]) or encode(x))
    for _ in range(9):
        stream.push(torch.randn(1, 3, 32, 32))
    assert seen == [1] * 9


def test_restart_begins_a_new_clip():
    model = recogniser()
    frames = torch.randn(1, 3, 10, 32, 32)
    stream = VideoStream(model, beyond="restart")
    outputs = [stream.push(frames[:, :, t]) for t in range(10)]
    again = VideoStream(model)
    fresh = [again.push(frames[:, :, t]) for t in range(6, 10)]
    for got, expected in zip(outputs[6:], fresh):
        assert torch.equal(got.video_features, expected.video_features)
        assert torch.equal(got.logits, expected.logits)


def test_one_frame_too_many_stops_and_leaves_the_stream_as_it_was():
    model = recogniser(num_frames=2)
    frames = torch.randn(1, 3, 3, 32, 32)
    stream = VideoStream(model)
    stream.push(frames[:, :, 0])
    before = stream.push(frames[:, :, 1])
    with pytest.raises(ValueError, match="knows 2 frames and this would be one more.*restart"):
        stream.push(frames[:, :, 2])
    stream.reset()
    stream.push(frames[:, :, 0])
    assert torch.equal(stream.push(frames[:, :, 1]).video_features, before.video_features)


@pytest.mark.parametrize("beyond, pattern", [("restart", "kmct"), ("window", "kmct"), ("window", "kmt")])
def test_hundreds_of_frames_keep_memory_flat(beyond, pattern):
    """Counted in tensors that the stream holds on to, which is what could grow."""
    model = KroneckerTransformer(8, 2, 2, 4, pattern, class_tokens_only=True).eval()
    stream = TemporalStream(model, beyond)

    def held():
        kept = [tensor for pair in stream._caches or () for tensor in pair] + list(stream._window)
        return len(kept), sum(tensor.untyped_storage().nbytes() for tensor in kept)

    sizes = set()
    for number in range(400):
        stream.push(torch.randn(1, 3, 8))
        if number >= 4:
            sizes.add(held())
    assert len(sizes) == 1


@pytest.mark.parametrize("act, says", [
    (lambda: VideoStream(recogniser(), beyond="drift"), "unknown policy beyond='drift'; one of error, restart, window"),
    (lambda: VideoStream(recogniser("kmt")), "under 'kmt' a new frame changes earlier ones.*beyond='window'"),
    (lambda: VideoStream(recogniser().train()), "in training mode; call eval"),
    (lambda: VideoStream(recogniser()).push(torch.randn(1, 3, 2, 32, 32)), "expected one frame"),
    (lambda: VideoStream(recogniser()).push(torch.randn(1, 3, 40, 32)), r"built for frames of \(32, 32\)"),
    (lambda: VideoStream(recogniser(embed_dims=32, num_heads=2)), "as wide as the backbone"),
])
def test_bad_use_is_named(act, says):
    with pytest.raises(ValueError, match=says):
        act()


def test_a_frame_of_another_size_is_refused_and_the_stream_goes_on():
    stream = TemporalStream(KroneckerTransformer(8, 2, 2, 4, "kmct").eval())
    stream.push(torch.zeros(1, 3, 8))
    with pytest.raises(ValueError, match=r"a frame of shape \(1, 5, 8\) after frames of \(1, 3, 8\); call reset"):
        stream.push(torch.zeros(1, 5, 8))
    stream.push(torch.zeros(1, 3, 8))
    assert stream.length == 2


def test_a_stream_scores_against_the_texts_of_the_head_at_hand():
    """It kept the texts of its first frame for ever, through ``set_texts``, restarts and changed weights."""
    model = recogniser(num_frames=3)
    stream = VideoStream(model, beyond="restart")
    frame = torch.randn(1, 3, 32, 32)
    assert stream.push(frame).logits.shape == (1, 12, 2)
    model.cls_head.set_texts([["a cat"], ["a dog"], ["a horse"]])
    before = stream.push(frame)
    assert before.logits.shape == (1, 1, 3)
    with torch.no_grad():
        model.cls_head.clip.text.ln_final.weight.mul_(torch.rand(32))
        after = stream.push(frame)
        assert torch.allclose(after.logits, CLAVER.of(model).logits(after.video_features,
                                                                    model.cls_head.text_features()))


def test_streams_have_texts_of_their_own():
    model = recogniser(num_frames=3)
    one, two = VideoStream(model, texts=["a cat", "a dog", "a fish"]), VideoStream(model)
    frame = torch.randn(1, 3, 32, 32)
    assert one.push(frame).logits.shape == (1, 12, 3) and two.push(frame).logits.shape == (1, 12, 2)
    assert VideoStream(create_model(TINY, pattern="kmct", depth=1)).push(frame).logits is None
    with pytest.raises(ValueError, match="'Cat' and 'cat' are one to the model"):
        VideoStream(model, texts=["Cat", "cat"])


@pytest.mark.parametrize("beyond", ["restart", "window"])
def test_a_wrong_first_frame_leaves_no_trace(beyond):
    """The frames after it were refused for not having its shape, or had it in their window."""
    transformer = KroneckerTransformer(8, 2, 2, 4, "kmct").eval()
    stream, fresh = TemporalStream(transformer, beyond), TemporalStream(transformer, beyond)
    for wrong in (torch.zeros(1, 3, 7), torch.zeros(3, 8), torch.zeros(1, 3, 8, dtype=torch.float64)):
        with pytest.raises((ValueError, RuntimeError)):
            stream.push(wrong)
    frame = torch.randn(1, 3, 8)
    assert torch.equal(stream.push(frame), fresh.push(frame))


def test_weights_that_change_within_a_clip_are_noticed():
    stream = TemporalStream(KroneckerTransformer(8, 2, 2, 4, "kmct").eval(), "restart")
    stream.push(torch.zeros(1, 3, 8))
    stream.transformer.load_state_dict(KroneckerTransformer(8, 2, 2, 4, "kmct").state_dict())
    with pytest.raises(ValueError, match="not those of the clip's first frame; call reset"):
        stream.push(torch.zeros(1, 3, 8))
    stream.reset()
    stream.push(torch.zeros(1, 3, 8))
    stream, frame = VideoStream(recogniser("kmt"), "window"), torch.randn(1, 3, 32, 32)
    stream.push(frame)
    with torch.no_grad():
        stream.model.visual.conv1.weight.mul_(2)
    with pytest.raises(ValueError, match="the image tower's weights are not those"):
        stream.push(frame)


def test_a_stream_begun_in_inference_mode_goes_on_outside_and_its_texts_can_be_trained():
    """Keys and values of inference mode cannot be written to outside of it, nor features be trained with."""
    model = recogniser(num_frames=2)
    stream, frames = VideoStream(model), torch.randn(1, 3, 2, 32, 32)
    with torch.inference_mode():
        stream.push(frames[:, :, 0])
        kept = model.cls_head.text_features()
    assert torch.allclose(stream.push(frames[:, :, 1]).video_features, offline(model, frames)[0].mean(1), atol=1e-5)
    video = torch.randn(2, 32, requires_grad=True)
    model.cls_head.logits(video, kept).sum().backward()
    assert video.grad is not None


def test_a_frame_of_a_camera_is_prepared_as_the_model_was_trained():
    model = recogniser()
    model.data_preprocessor = MODELS.build(dict(type="ActionDataPreprocessor", mean=[66] * 3, std=[240] * 3,
                                                format_shape="NCTHW"))
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    normalised = (torch.from_numpy(picture).permute(2, 0, 1).unsqueeze(0).float() - 66) / 240
    found, wanted = VideoStream(model).push(picture), VideoStream(model).push(normalised)
    assert torch.allclose(found.video_features, wanted.video_features, atol=1e-6)
    with pytest.raises(ValueError, match=r"frames must be uint8 RGB \(T, h, w, 3\), got float32"):
        VideoStream(model).push(picture.astype(np.float32))
