"""Costs are those of the model that runs: counts against formulas written out here, and against published figures."""

import pytest
import torch
from mmaction.registry import MODELS
from small import TOWERS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from toy import TINY

from claver_mm import cost_report
from claver_mm.attention import kronecker_attention, may_see
from claver_mm.costs import (
    TextWork,
    VideoSide,
    Work,
    allowed_pairs,
    build_without_weights,
    count,
    parameters,
    text_work,
    video_work,
)
from claver_mm.memory import Activations, activations, kept_bytes
from claver_mm.temporal import KroneckerAttention, KroneckerTransformer
from claver_mm.towers.architectures import tower_of

PATTERNS = ["kmt", "kmct", "joint", "spatial", "pipeline", "class_token"]
SIZES = {"B/32": (768, 12, 32, 224, 512), "B/16": (768, 12, 16, 224, 512),  # width, depth, patch, side, width of texts
         "L/14": (1024, 24, 14, 224, 768), "L/14@336": (1024, 24, 14, 336, 768)}
SMALL = dict(TINY, vision_cfg=dict(TINY["vision_cfg"], layers=6))
TOY_SHAPE = (2, 1, 3, 4, 32, 32)


def claver(arch, T, pattern="kmt", class_tokens_only=True, head=None, **backbone):
    return dict(type="Recognizer3D", backbone=dict(type="CLIPBackbone", arch=arch, **backbone),
                neck=dict(type="TemporalNeck", pattern=pattern, arch=arch, num_frames=T,
                          class_tokens_only=class_tokens_only),
                cls_head=dict(type="ContrastiveTextHead", arch=arch, **(head or dict(num_classes=2))))


def without_weights(*args, **kwargs):
    return build_without_weights(lambda: MODELS.build(claver(*args, **kwargs)))


def clip(arch, T):
    return torch.empty(1, 1, 3, T, SIZES[arch][3], SIZES[arch][3], device="meta")


def total(works):
    return sum(work.total for work in works.values())


def pairs(pattern, T, L):
    """Allowed pairs, one by one; patches under ``class_token`` pass their own value on, without a product."""
    tokens = torch.arange(T * L)
    return may_see(pattern, tokens, tokens, L).sum().item() - (T * (L - 1) if pattern == "class_token" else 0)


def blocks(depth, tokens, D, products):
    """Work of transformer blocks by formula: ``tokens`` each, MLP ratio 4, ``products`` pairs of query and key."""
    return Work(mlps=depth * tokens * 8 * D * D, maps=depth * tokens * 4 * D * D, products=depth * 2 * products * D)


@pytest.mark.parametrize("arch, frames, published", [
    ("B/32", 8, 33), ("B/32", 16, 64), ("B/16", 8, 122), ("B/16", 16, 241), ("B/16", 32, 482), ("L/14", 8, 558),
    ("L/14@336", 16, 2488)])
def test_published_flops_are_convolutions_and_mlps_with_those_of_one_text(arch, frames, published):
    model = without_weights(arch, frames)
    one = text_work(model.cls_head.clip.text, None, 5, 16384).one_uncut
    video = video_work(model, clip(arch, frames), all_tokens=True)
    assert sum(work.convolutions + work.mlps for work in video.values()) + one.mlps == pytest.approx(published * 1e9,
                                                                                                     rel=0.01)
    if (arch, frames) in (true := {("B/32", 8): 51, ("B/16", 8): 203, ("B/16", 32): 988, ("L/14@336", 16): 5388}):
        every_pair = video_work(model, clip(arch, frames), all_tokens=True, every_pair=True)
        assert total(every_pair) + one.total == pytest.approx(true[arch, frames] * 1e9, rel=0.01)


@pytest.mark.parametrize("arch, sizes, T, pattern", [
    *((SMALL, (64, 6, 8, 32, 32), 3, pattern) for pattern in PATTERNS), ("B/16", SIZES["B/16"], 5, "kmct")])
def test_work_is_what_formulas_say(arch, sizes, T, pattern):
    D, depth, patch, side, text_width = sizes
    P = (side // patch) ** 2
    L, S = P + 1, T * (P + 1)
    model, x = without_weights(arch, T, pattern), torch.empty(1, 1, 3, T, side, side, device="meta")
    temporal_tokens, every_pair = (T, T * T) if pattern == "class_token" else (S, S * S)
    image = Work(convolutions=T * P * D * 3 * patch ** 2) + blocks(depth, S, D, T * L * L)
    neck = blocks(depth // 3, temporal_tokens, D, pairs(pattern, T, L))
    head = Work(other=T * D * text_width)  # the projection to E, which is the width of texts in CLIP
    whole = video_work(model, x, all_tokens=True)
    assert whole == {"image tower": image, "temporal neck": neck, "head": head}
    if pattern in ("kmt", "kmct"):
        with_blocked = video_work(model, x, all_tokens=True, every_pair=True)["temporal neck"]
        assert with_blocked == blocks(depth // 3, S, D, every_pair)
    # the last block: keys and values of all tokens; queries, projection, MLP and products of T class tokens
    last = Work(mlps=8 * T * D * D, maps=2 * (temporal_tokens + T) * D * D, products=2 * T * temporal_tokens * D)
    executed = video_work(model, x)
    assert executed["temporal neck"] == blocks(depth // 3 - 1, temporal_tokens, D, pairs(pattern, T, L)) + last
    assert executed["image tower"] == image


@pytest.mark.parametrize("kind", TOWERS)
def test_any_tower_is_counted_by_part_and_kind(kind):
    """Positions' MLP within attention, and convolutions within MLPs, were counted twice."""
    tower = tower_of(TOWERS[kind])
    model = build_without_weights(lambda: MODELS.build(dict(
        type="CLAVERRecognizer", arch=TOWERS[kind], num_frames=3, neck=dict(depth=1), cls_head=dict(num_classes=2))))
    counts, D, L, T = parameters(model), tower.width, tower.num_prefix + tower.grid[0] * tower.grid[1], 3
    assert set(counts) <= {"image tower", "temporal neck", "pooling and projection", "text tower", "logit scale"}
    assert sum(counts.values()) == sum(parameter.numel() for parameter in model.parameters())
    found = video_work(model, torch.empty(1, 1, 3, T, *tower.image_size, device="meta"))
    assert all(number >= 0 for work in found.values() for number in (
        work.convolutions, work.mlps, work.maps, work.products, work.other))
    if tower.depth is not None:
        image = found["image tower"]
        of_positions = dict(relpos=0).get(kind, image.maps)  # those of positions are maps as well
        assert (image.mlps, image.products, image.other) == (3 * 8 * T * L * D * D, 3 * 2 * T * L * L * D, 0)
        assert of_positions in (0, 3 * 4 * T * L * D * D)
    if kind in ("siglip", "pe"):  # keys and values of all tokens, one query, the MLP and projection of one token
        E, projected = TOWERS[kind]["embed_dim"], kind == "pe"
        expected = T * (2 * L * D * D + 2 * D * D + 2 * L * D + 8 * D * D + projected * D * E)
        assert found["head"].total == expected


@pytest.mark.parametrize("kind", ["siglip", "pe"])
def test_a_checkpointed_tower_of_timm_keeps_the_inputs_of_its_blocks(kind):
    def build(again):
        model = build_without_weights(lambda: MODELS.build(dict(
            type="CLAVERRecognizer", arch=TOWERS[kind], num_frames=4, backbone=dict(grad_checkpointing=again),
            cls_head=dict(num_classes=2))))
        return activations(model, TOY_SHAPE)
    plain, kept = build(False), build(True)
    assert plain.recomputed == 0 < kept.recomputed and kept.video < plain.video
    assert abs(plain.video - kept.video - 3 * kept.recomputed) < 3


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("T, L", [(1, 4), (3, 5), (4, 1)])
def test_allowed_pairs_are_those_of_the_mask(pattern, T, L):
    assert allowed_pairs(pattern, T, L) == pairs(pattern, T, L)


@pytest.mark.parametrize("pattern", ["kmt", "kmct"])
def test_the_tree_counts_itself_as_allowed_pairs(pattern):
    q = torch.randn(2, 3, 5 * 7, 8)
    with FlopCounterMode(display=False) as counter:
        kronecker_attention(q, q, q, pattern, 5, backend="tree")
    assert counter.get_total_flops() == 2 * 2 * (2 * 3 * 8) * allowed_pairs(pattern, 5, 7)


def test_work_does_not_depend_on_the_backend():
    """The dense form of a small clip computes blocked pairs too."""
    temporal, x = KroneckerTransformer(64, 2, 2, 3, "kmt").eval(), torch.randn(1, 3, 5, 64)
    assert count(temporal, x) == count(temporal.to("meta"), x.to("meta")) == [blocks(2, 15, 64, pairs("kmt", 3, 5))]


@pytest.mark.parametrize("arch, published", [("B/32", 151277313), ("B/16", 149620737), ("L/14", 427616513),
                                             ("L/14@336", 427944193)])
def test_parameters_but_for_the_neck_are_those_of_clip(arch, published):
    D, depth = SIZES[arch][:2]
    counts = parameters(without_weights(arch, 8))
    neck = counts.pop("temporal neck")
    assert sum(counts.values()) == published
    assert set(counts) == {"image tower", "pooling and projection", "text tower", "logit scale"}
    assert neck == 8 * D + depth // 3 * (12 * D * D + 13 * D)


def test_frozen_parameters_are_not_trainable():
    model = without_weights(TINY, 4, frozen=True, head=dict(num_classes=2, frozen_text=True, frozen_visual=True))
    trainable = parameters(model, trainable=True)
    assert {part for part, number in trainable.items() if number} == {"temporal neck", "logit scale"}
    assert trainable["temporal neck"] == parameters(model)["temporal neck"]


def test_a_model_without_weights_has_its_texts():
    model = without_weights("L/14@336", 16, head=dict(classes=["run", "jump"], templates=["{}", "a {}"]))
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert model.cls_head.text_tokens.argmax(-1).tolist() == [[2, 3], [2, 3]]


def test_texts_are_counted_at_their_length_and_once():
    tokens = torch.zeros(3, 2, 24, dtype=torch.long)
    lengths = torch.tensor([[5, 9], [5, 9], [13, 17]])
    for c, row in enumerate(lengths.tolist()):
        for m, n in enumerate(row):
            tokens[c, m, :n] = torch.arange(1, n + 1) + 100 * (c == 2)
    model = without_weights(TINY, 4)
    D, E = 32, 32

    def formula(n):
        return blocks(2, n, D, n * n).total + D * E

    work = text_work(model.cls_head.clip.text, tokens, num_draws=1, tokens_at_once=1000)
    assert work.one_uncut.total == formula(24)
    assert work.evaluation == sum(map(formula, (5, 9, 13, 17))) and work.evaluation_uncut == 6 * formula(24)
    assert work.step == work.evaluation // 2 and work.step_uncut == 3 * formula(24)
    assert sorted(work.batches) == [(1, 9), (1, 17)]
    frozen = text_work(model.cls_head.clip.text, tokens, 1, 1000, frozen=True)
    assert frozen.step == 0 and frozen.evaluation == work.evaluation
    assert text_work(model.cls_head.clip.text, None, 1, 1000) == TextWork(work.one_uncut)


def test_kept_bytes_are_the_tensors_that_the_backward_pass_reads():
    layers = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2))
    assert kept_bytes(layers, torch.randn(3, 4)) == 4 * (3 * 4 + 3 * 8)  # the sigmoid's output serves two layers


def test_activations_are_what_a_real_step_keeps():
    model, real = without_weights(TINY, 4), MODELS.build(claver(TINY, 4)).train()
    expected = kept_bytes(VideoSide(real), torch.randn(TOY_SHAPE))
    tower, batches = real.cls_head.clip.text, [(3, 24), (2, 24)]
    texts = sum(kept_bytes(tower, torch.ones(size, dtype=torch.long)) for size in batches)
    assert activations(model, TOY_SHAPE, batches) == Activations(expected, texts, 0)
    assert activations(model, TOY_SHAPE, batches, text_checkpointing=True) == Activations(
        expected, 8 * 5 * 24, kept_bytes(tower, torch.ones(3, 24, dtype=torch.long)))
    assert all(parameter.is_meta for parameter in model.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        half = kept_bytes(VideoSide(real), torch.randn(TOY_SHAPE))
        assert activations(model, TOY_SHAPE).video == pytest.approx(half, rel=0.01)


def test_a_checkpointed_image_tower_keeps_the_inputs_of_its_blocks():
    plain = activations(without_weights(TINY, 4), TOY_SHAPE)
    kept = activations(without_weights(TINY, 4, grad_checkpointing=True), TOY_SHAPE)
    block = without_weights(TINY, 4).backbone.visual.transformer.resblocks[0].to_empty(device="cpu")
    x = torch.zeros(8, 17, 64, requires_grad=True)
    assert kept.recomputed == kept_bytes(block, x) - x.nbytes
    assert plain.video == kept.video + 3 * kept.recomputed


def test_a_stock_backbone_is_counted():
    costs = cost_report.report(cost_report.read_for_costs("tsn_r50_kmt_k400"))
    image, neck = costs["macs_by_part"]["image tower"], costs["macs_by_part"]["temporal neck"]
    assert image["convolutions"] == pytest.approx(8 * 4.087e9, rel=0.001)  # a ResNet-50 at 224 pixels, without its fc
    assert neck == dict(convolutions=0, mlps=2 * 8 * 392 * 512 ** 2, maps=2 * 4 * 392 * 512 ** 2,
                        products=2 * 2 * pairs("kmt", 8, 49) * 512, other=2 * 392 * 2048 * 512)
    assert costs["text"] is None and "published_convention" not in costs["macs"]
    assert costs["views"] == [1, 10] and costs["parameters"]["head"] == 2048 * 400 + 400


def test_a_model_that_reads_values_is_refused():
    class Reads(nn.Module):
        def forward(self, x):
            return x[:int(x.sum())]

    with pytest.raises(ValueError, match=r"Reads cannot be run on tensors without data, inputs \[\(3,\)\]"):
        count(Reads(), torch.empty(3, device="meta"))


def test_attention_called_by_keyword_is_counted():
    """One keyword, and the hook died of unpacking positional arguments."""

    class ByKeyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = KroneckerAttention(16, 2, "kmct")

        def forward(self, x):
            return self.attn(num_frames=3, x=x)

    with torch.device("meta"):
        model, x = ByKeyword(), torch.zeros(2, 12, 16)
    assert count(model, x)[0].products == 2 * 2 * 16 * allowed_pairs("kmct", 3, 4)
