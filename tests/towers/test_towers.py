"""Every kind of tower gives what open_clip's own model gives, cut in half and with a temporal part that is nothing."""
import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from small import TOWERS, whole
from torch.nn.functional import normalize

from claver_mm.model import CLAVER, create_model
from claver_mm.streaming import VideoStream
from claver_mm.temporal import KroneckerTransformer
from claver_mm.towers.architectures import tower_of
from claver_mm.towers.head import CLIPHead, class_tokens_suffice
from claver_mm.towers.image import build_image_trunk, image_tokens
from claver_mm.towers.preprocessing import preprocessing_of
from claver_mm.weights import head_weights, image_trunk_weights, load_strict

EVERY_KIND = pytest.mark.parametrize("kind", TOWERS)


def halves(kind):
    """open_clip's model, and its weights in our two halves."""
    model = whole(kind)
    trunk, head = build_image_trunk(TOWERS[kind]).eval(), CLIPHead(TOWERS[kind]).eval()
    load_strict(trunk, image_trunk_weights(model.state_dict()), "whole")
    load_strict(head, head_weights(model.state_dict()), "whole")
    return model, trunk, head


def claver(kind, trunk, head, pattern="kmct", **how):
    tower = tower_of(TOWERS[kind])
    heads = tower.heads or 2
    temporal = KroneckerTransformer(tower.width, heads, 2, 4, pattern,
                                    class_tokens_only=class_tokens_suffice(tower), **how)
    return CLAVER(trunk, temporal, head, TOWERS[kind], preprocessing_of(TOWERS[kind])).eval()


def pictures(kind, count=2):
    return torch.randn(count, 3, *tower_of(TOWERS[kind]).image_size)


@EVERY_KIND
def test_halves_together_are_open_clip(kind):
    model, trunk, head = halves(kind)
    tower, images = tower_of(TOWERS[kind]), pictures(kind)
    texts = torch.randint(1, 1000, (3, 24))
    texts[:, 11] = 49407
    with torch.no_grad():
        tokens = image_tokens(trunk, images)
        assert tokens.shape == (2, tower.num_prefix + tower.grid[0] * tower.grid[1], tower.width)
        frames = head.frame_features(tokens.unsqueeze(1)).squeeze(1)
        assert torch.allclose(frames, normalize(model.encode_image(images), dim=-1), atol=1e-6)
        assert torch.allclose(head.text_features(texts), normalize(model.encode_text(texts), dim=-1), atol=1e-6)
    assert (head.logit_bias is None) == (kind != "siglip")


@EVERY_KIND
def test_a_picture_is_prepared_as_open_clip_prepares_it(kind):
    model, trunk, head = halves(kind)
    picture = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    ours = claver(kind, trunk, head).prepare([picture])
    theirs = image_transform_v2(PreprocessCfg(size=tower_of(TOWERS[kind]).image_size), False)(Image.fromarray(picture))
    assert torch.allclose(ours[0, :, 0], theirs, atol=1e-6)


@EVERY_KIND
def test_a_temporal_part_that_begins_as_nothing_changes_no_bit(kind):
    _, trunk, head = halves(kind)
    model, clips = claver(kind, trunk, head, zero_init_residual=True), pictures(kind, 4).transpose(0, 1).unsqueeze(0)
    with torch.no_grad():
        tokens = model.image_tokens(clips)
        assert torch.equal(model.read(model.mix(tokens)), model.read(tokens))


@EVERY_KIND
def test_a_temporal_part_that_begins_as_nothing_learns(kind):
    _, trunk, head = halves(kind)
    model = claver(kind, trunk, head, zero_init_residual=True).train()
    clips = pictures(kind, 4).transpose(0, 1).unsqueeze(0)
    target = normalize(torch.randn(1, head.text_features(torch.ones(1, 24, dtype=torch.long)).shape[-1]), dim=-1)
    optimiser = torch.optim.AdamW(model.temporal.parameters(), 1e-2)
    losses = []
    for _ in range(4):
        loss = -(model.video_features(clips) * target).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1e-4 and model.temporal.temporal_embedding.count_nonzero()


@EVERY_KIND
def test_a_stream_gives_the_features_of_the_clip(kind):
    _, trunk, head = halves(kind)
    model, clips = claver(kind, trunk, head), pictures(kind, 4).transpose(0, 1).unsqueeze(0)
    stream = VideoStream(model)
    with torch.no_grad():
        for frame in clips.unbind(2):
            output = stream.push(frame)
        assert torch.allclose(output.video_features, model.video_features(clips), atol=1e-5)


@pytest.mark.parametrize("kind", ["siglip", "pe", "eva", "clip"])
def test_another_input_size_loads_as_in_open_clip(kind):
    model = whole(kind)
    trunk = build_image_trunk(TOWERS[kind], 48)
    load_strict(trunk, image_trunk_weights(model.state_dict()), "whole")
    if kind == "clip":
        config = dict(TOWERS[kind], vision_cfg=dict(TOWERS[kind]["vision_cfg"], image_size=48))
        larger, weights = open_clip.CustomTextCLIP(**config).eval(), model.state_dict()
        open_clip.model.resize_pos_embed(weights, larger)
        larger.load_state_dict(weights)
    else:
        larger = model
        larger.visual.set_input_size(48)
    head = CLIPHead(TOWERS[kind]).eval()
    load_strict(head, head_weights(whole(kind).state_dict() | model.state_dict()), "whole")
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        frames = head.frame_features(image_tokens(trunk.eval(), images).unsqueeze(1)).squeeze(1)
        assert torch.allclose(frames, normalize(larger.encode_image(images), dim=-1), atol=1e-5)


def test_positions_of_a_resnet_cannot_be_changed():
    with pytest.raises(ValueError, match="positions for 64 pixels; its image_size cannot be changed"):
        build_image_trunk(TOWERS["resnet"], 96)


def test_batch_norms_of_a_tower_keep_their_statistics():
    from mmaction.registry import MODELS
    backbone = MODELS.build(dict(type="CLIPBackbone", arch=TOWERS["mobileclip"]))
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    assert before
    backbone.train()(torch.randn(1, 3, 2, 64, 64)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())


@pytest.mark.parametrize("kind", [kind for kind in TOWERS if not class_tokens_suffice(tower_of(TOWERS[kind]))])
def test_class_tokens_alone_are_refused_by_a_tower_that_reads_the_others(kind):
    """SigLIP's pooling took the first patch for all of them, CLIPA's mean was none."""
    model = create_model(TOWERS[kind], depth=1, num_frames=2)
    model.temporal.class_tokens_only = True
    with pytest.raises(ValueError, match="a tower that pools by .* reads all tokens, the neck gives class tokens"):
        model.video_features(torch.zeros(1, 3, 2, *model.preprocessing.size))
    with pytest.raises(ValueError, match="a tower that pools by .* reads all tokens"):
        VideoStream(model, beyond="window")


@pytest.mark.parametrize("kind, how, says", [
    ("siglip", dict(pool="class_token"), "this one pools by attention"),
    ("vitamin", dict(pool="mean"), "this one pools by mean"),
    ("convnext", {}, "stands in stages, of which no share can be taken"),
])
def test_what_a_tower_cannot_give_is_refused(kind, how, says):
    with pytest.raises(ValueError, match=says):
        create_model(TOWERS[kind], **how)
