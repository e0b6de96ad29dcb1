"""Weights in every form they come in; the published model is written out here as the method describes it."""
import copy

import open_clip
import pytest
import torch
from mmaction.registry import MODELS
from safetensors.torch import save_file
from torch import nn
from toy import TINY

from claver_mm import convert_official
from claver_mm.clip import CLIPHead, activation, build_image_trunk, model_config, vision_depth, vision_heads
from claver_mm.towers.pretrained import resolve_pretrained
from claver_mm.weights import (
    head_weights,
    image_trunk_weights,
    load_strict,
    read_state_dict,
    refuse_other_sizes,
)

B32_SHALLOW = copy.deepcopy(open_clip.get_model_config("ViT-B-32-quickgelu"))
B32_SHALLOW["vision_cfg"]["layers"] = B32_SHALLOW["text_cfg"]["layers"] = 3


class PublishedBlock(nn.Module):
    def __init__(self, width, heads, act):
        super().__init__()
        self.temporal_ln_1, self.temporal_ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.temporal_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.temporal_mlp = nn.Sequential()
        self.temporal_mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.temporal_mlp.add_module("gelu", act())
        self.temporal_mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x, mask):
        y = self.temporal_ln_1(x)
        x = x + self.temporal_attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.temporal_mlp(self.temporal_ln_2(x))


class PublishedCLAVER(open_clip.CLIP):
    """CLIP with the temporal part inside its image tower, under the published names, with a dense -inf mask."""

    def __init__(self, arch, num_frames, causal):
        super().__init__(**model_config(arch))
        width, heads = self.visual.conv1.out_channels, vision_heads(arch)
        self.causal = causal
        self.visual.temporal_embedding = nn.Parameter(torch.randn(1, num_frames, width) * 0.1)
        self.visual.transformer_t = nn.Module()
        self.visual.transformer_t.resblocks = nn.ModuleList(
            PublishedBlock(width, heads, activation(arch)) for _ in range(round(vision_depth(arch) / 3)))

    def frame_features(self, video):
        B, _, T = video.shape[:3]
        tower = self.visual
        x = tower.transformer(tower._embeds(video.transpose(1, 2).flatten(0, 1)))
        L = x.shape[1]
        x = (x.view(B, T, L, -1) + tower.temporal_embedding.unsqueeze(2)).flatten(1, 2)
        blocked = torch.kron(torch.eye(T), torch.ones(L, L) - torch.eye(L))
        if self.causal:
            blocked += torch.kron(torch.ones(T, T).triu(1), torch.ones(L, L))
        mask = torch.zeros(T * L, T * L).masked_fill(blocked.bool(), float("-inf"))
        for block in tower.transformer_t.resblocks:
            x = block(x, mask)
        x = tower.ln_post(x.view(B, T, L, -1)[:, :, 0]) @ tower.proj
        return x / x.norm(dim=-1, keepdim=True)

    def video_logits(self, video, tokens):
        text = self.encode_text(tokens.flatten(0, 1), normalize=True).unflatten(0, tokens.shape[:2])
        return self.logit_scale.exp() * torch.einsum("be,cke->bkc", self.frame_features(video).mean(1), text)


def recogniser(arch, num_frames=4, neck="KMTNeck"):
    return MODELS.build(dict(
        type="mmaction.Recognizer3D",
        data_preprocessor=dict(type="mmaction.ActionDataPreprocessor", format_shape="NCTHW"),
        backbone=dict(type="CLIPBackbone", arch=arch), neck=dict(type=neck, arch=arch, num_frames=num_frames),
        cls_head=dict(type="ContrastiveTextHead", arch=arch)))


@pytest.mark.parametrize("arch, size, neck, prefix", [
    (TINY, 32, "KMTNeck", ""), (TINY, 32, "KMCTNeck", "module."), (B32_SHALLOW, 224, "KMTNeck", "module.")],
    ids=["tiny kmt", "tiny kmct", "B/32 of 3 layers"])
def test_converted_weights_give_the_published_features_and_logits(arch, size, neck, prefix):
    published = PublishedCLAVER(arch, 4, neck == "KMCTNeck").eval()
    ours = recogniser(arch, neck=neck).eval()
    state_dict = {prefix + key: value for key, value in published.state_dict().items()}
    ours.load_state_dict(convert_official(state_dict), strict=True)
    video = torch.randn(2, 3, 4, size, size)
    tokens = torch.randint(1, 400, (5, 2, model_config(arch)["text_cfg"].get("context_length", 77)))
    tokens[..., 9] = 49407
    ours.cls_head.set_texts(tokens)
    with torch.no_grad():
        feats, _ = ours.extract_feat(video.unsqueeze(1), test_mode=True)
        assert torch.allclose(ours.cls_head.clip.frame_features(feats), published.frame_features(video), atol=1e-5)
        assert torch.allclose(ours.cls_head(feats), published.video_logits(video, tokens), atol=1e-4)


def test_conversion_names_what_it_does_not_know():
    state_dict = PublishedCLAVER(TINY, 4, False).state_dict()
    with pytest.raises(ValueError, match="not of a published CLAVER checkpoint: visual2.weight"):
        convert_official(dict(state_dict, **{"visual2.weight": torch.zeros(1)}))
    with pytest.raises(ValueError, match="a CLIP file, not a CLAVER checkpoint"):
        convert_official(open_clip.CLIP(**model_config(TINY)).state_dict())


def test_conversion_gives_full_precision():
    converted = convert_official(PublishedCLAVER(TINY, 4, False).half().state_dict())
    assert {value.dtype for value in converted.values()} == {torch.float32}


def test_conversion_leaves_the_callers_dict_alone():
    state_dict = PublishedCLAVER(TINY, 4, False).state_dict()
    keys = list(state_dict)
    convert_official(state_dict)
    assert list(state_dict) == keys


class Scripted(nn.Module):
    """Stands in for OpenAI's archive: a scripted module with CLIP's names, half precision, and three numbers."""

    def __init__(self, clip):
        super().__init__()
        self.visual, self.transformer = clip.visual, clip.transformer
        self.token_embedding, self.ln_final = clip.token_embedding, clip.ln_final
        for name in ("positional_embedding", "text_projection", "logit_scale"):
            setattr(self, name, getattr(clip, name))
        for name, value in (("input_resolution", 32), ("context_length", 24), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x):
        return x


@pytest.fixture(params=["openai.pt", "open_clip.pt", "open_clip.bin", "open_clip.safetensors", "custom_text.pt"])
def clip_file(request, tmp_path):
    """(file, the model whose weights it holds), for each form in which CLIP weights are published."""
    path = tmp_path / request.param
    kind = open_clip.CustomTextCLIP if "custom" in path.name else open_clip.CLIP
    clip = kind(**model_config(TINY)).eval()
    if path.name == "openai.pt":
        torch.jit.trace(Scripted(clip.half()), torch.zeros(1)).save(path)
        clip.float()
    elif path.suffix == ".safetensors":
        save_file(clip.state_dict(), path)
    elif path.suffix == ".bin":
        torch.save({"state_dict": {f"module.{key}": value for key, value in clip.state_dict().items()}}, path)
    else:
        torch.save(clip.state_dict(), path)
    return path, clip


def test_every_form_of_clip_weights_loads_whole(clip_file):
    path, clip = clip_file
    model = recogniser(TINY)
    model.backbone.pretrained = model.cls_head.pretrained = str(path)
    model.init_weights()
    images = torch.randn(2, 3, 1, 32, 32)
    tokens = torch.randint(1, 400, (3, 24))
    tokens[:, 5] = 49407
    with torch.no_grad():
        frames = model.cls_head.clip.frame_features(model.backbone.eval()(images))[:, 0]
        assert torch.allclose(frames, clip.encode_image(images[:, :, 0], normalize=True), atol=1e-5)
        assert torch.allclose(model.cls_head.clip.text_features(tokens), clip.encode_text(tokens, normalize=True),
                              atol=1e-5)
    assert torch.equal(model.cls_head.clip.logit_scale, clip.logit_scale)


def test_missing_and_left_over_weights_are_named():
    state_dict = open_clip.CLIP(**model_config(TINY)).state_dict()
    trunk = image_trunk_weights(state_dict)
    trunk["extra.weight"] = trunk.pop("conv1.weight")
    with pytest.raises(ValueError, match="some file does not fit.*missing: conv1.weight; left over: extra.weight"):
        load_strict(build_image_trunk(TINY), trunk, "some file")
    head = head_weights(dict(state_dict, unheard_of=torch.zeros(1)))
    with pytest.raises(ValueError, match="left over: unheard_of"):
        load_strict(CLIPHead(TINY), head, "some file")


def test_clips_weights_are_no_checkpoint_of_a_recogniser():
    """The message was a list of keys; OpenAI's file, and one of the published code, say what to do."""
    with pytest.raises(ValueError, match="clip.pt .*CLIP's own weights, without a temporal part.*pretrained="):
        load_strict(recogniser(TINY), open_clip.CLIP(**model_config(TINY)).state_dict(), "clip.pt")
    with pytest.raises(ValueError, match="published CLAVER code; convert them: claver convert"):
        load_strict(recogniser(TINY), PublishedCLAVER(TINY, 4, False).state_dict(), "published.pth")


def test_weights_of_another_size_are_named():
    wide = dict(TINY, vision_cfg=dict(TINY["vision_cfg"], width=128))
    state_dict = image_trunk_weights(open_clip.CLIP(**model_config(wide)).state_dict())
    with pytest.raises(ValueError, match="some file does not fit the model: weights of another size.*conv1.weight"):
        load_strict(build_image_trunk(TINY), state_dict, "some file")


def test_a_hook_refuses_what_the_host_would_warn_of():
    """``init_recognizer`` goes on with random weights where sizes differ; two embeddings may differ in length alone."""
    module = nn.Module()
    module.weight, module.temporal_embedding = nn.Parameter(torch.zeros(8, 4)), nn.Parameter(torch.zeros(1, 8, 4))
    refuse_other_sizes(module, {"a.weight": torch.zeros(8, 4), "a.temporal_embedding": torch.zeros(1, 16, 4)}, "a.")
    for state_dict, says in (({"a.weight": torch.zeros(6, 4)}, r"a.weight \(6, 4\) instead of \(8, 4\)"),
                             ({"a.temporal_embedding": torch.zeros(1, 8, 2)}, "a.temporal_embedding")):
        with pytest.raises(ValueError, match=f"weights of another size or kind: {says}"):
            refuse_other_sizes(module, state_dict, "a.")


def test_a_run_does_not_go_on_without_its_pretrained_weights(tmp_path):
    model = recogniser(TINY)
    model.backbone.pretrained = str(tmp_path / "nowhere.pt")
    with pytest.raises(ValueError, match="nowhere.pt' is neither a file nor an open_clip tag"):
        model.init_weights()


def test_a_tag_that_cannot_be_downloaded_says_what_to_do(monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip, "download_pretrained", no_network)
    with pytest.raises(RuntimeError, match="no route to host.*pretrained='/path/to"):
        resolve_pretrained("openai", "B/16")
    with pytest.raises(ValueError, match="its tags: openai"):
        resolve_pretrained("openia", "B/16")


def test_openai_weights_are_refused_for_a_model_with_gelu():
    with pytest.raises(ValueError, match="trained with QuickGELU, but 'ViT-B-16'"):
        resolve_pretrained("openai", "ViT-B-16")


def test_an_archive_of_openai_is_refused_for_a_model_with_gelu(tmp_path):
    torch.jit.trace(nn.Linear(1, 1), torch.zeros(1)).save(tmp_path / "ViT-B-16.pt")
    with pytest.raises(ValueError, match="ViT-B-16.pt was trained with QuickGELU"):
        resolve_pretrained(tmp_path / "ViT-B-16.pt", dict(TINY, quick_gelu=False))
    assert resolve_pretrained(tmp_path / "ViT-B-16.pt", TINY) == tmp_path / "ViT-B-16.pt"


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("owned",))

    torch.save({"weights": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="evil.pt .*'builtins.print', .*could run code; .*save its state dict"):
        read_state_dict(tmp_path / "evil.pt")


@pytest.mark.parametrize("name", ["half.pt", "half.safetensors", "text.pth", "empty.pt", "text.safetensors"])
def test_a_damaged_file_is_named(tmp_path, name):
    """``Unsupported operand 103``, ``PytorchStreamReader failed reading zip archive``: of which file?"""
    path, weights = tmp_path / name, dict(weight=torch.zeros(1000))
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    path.write_bytes({"half": path.read_bytes()[:2000], "text": b"garbage", "empty": b""}[path.stem])
    with pytest.raises(ValueError, match=f"{name} (cannot be read as weights: .+|is damaged)"):
        read_state_dict(path)


@pytest.mark.parametrize("content, says", [
    ([1, 2], "a list"), ({"epoch": 3}, "no flat dict of tensors, but the keys epoch"),
])
def test_a_file_without_weights_is_named(tmp_path, content, says):
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(ValueError, match=f"file.pt holds {says}"):
        read_state_dict(tmp_path / "file.pt")
