"""Text towers of every kind, causal or not, give through ``encode_texts`` what they give themselves."""
import copy
import json

import numpy as np
import pytest
import torch
import torch.distributed as dist
from processes import run_on
from toy import TINY

from claver_mm.language.encoder import encode_texts, text_lengths
from claver_mm.language.texts import Texts
from claver_mm.towers.head import CLIPHead

transformers = pytest.importorskip("transformers")

SMALL = dict(context_length=12, vocab_size=60, width=32, heads=2, layers=2)
KINDS = {
    "clip": SMALL,
    "siglip": dict(SMALL, no_causal_mask=True, pool_type="last", proj_bias=True),
    "clipa": dict(SMALL, no_causal_mask=True, pool_type="last"),
    "mobileclip": dict(SMALL, no_causal_mask=True),
    "coca": dict(SMALL, embed_cls=True),
    "worldwide": dict(SMALL, pool_type="eos", eos_id=59),
    "roberta": dict(context_length=12, hf_proj_type="mlp", hf_pooler_type="mean_pooler"),
    "xlm-roberta": dict(context_length=12, hf_proj_type="mlp", hf_pooler_type="mean_pooler"),
    "bert": dict(context_length=12, hf_proj_type="linear", hf_pooler_type="cls_pooler"),
    "mt5": dict(context_length=12, hf_proj_type="linear", hf_pooler_type="mean_pooler"),
    "m2m_100": dict(context_length=12, hf_proj_type="linear", hf_pooler_type="cls_pooler"),
}
CUT = ("clip", "worldwide")
"""Kinds whose texts end where they are read."""
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Configs of small models of Hugging Face, by kind."""
    folder = tmp_path_factory.mktemp("models")
    encoder = dict(vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                   max_position_embeddings=20, pad_token_id=0)
    for kind, config in {
            "roberta": transformers.RobertaConfig(**encoder), "xlm-roberta": transformers.XLMRobertaConfig(**encoder),
            "bert": transformers.BertConfig(**encoder),
            "mt5": transformers.MT5Config(vocab_size=60, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2),
            "m2m_100": transformers.M2M100Config(
                vocab_size=60, d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
                decoder_attention_heads=2, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=20,
                pad_token_id=0)}.items():
        config.save_pretrained(folder / kind)
    return folder


def arch_of(kind: str, folder) -> dict:
    text = dict(KINDS[kind])
    if "hf_proj_type" in text:
        text["hf_model_name"] = str(folder / kind)
    return dict(TINY, text_cfg=text)


def head_of(kind: str, folder) -> CLIPHead:
    torch.manual_seed(0)
    return CLIPHead(arch_of(kind, folder)).eval().double()


def token_ids() -> torch.Tensor:
    """Six texts of 12 places, the third twice; 59 ends a text, 0 fills up."""
    tokens = torch.zeros(6, 12, dtype=torch.long)
    for row, length in enumerate((3, 11, 5, 5, 1, 7)):
        tokens[row, :length] = torch.arange(length) * (row + 2) % 57 + 1
        tokens[row, length] = 59
    tokens[3] = tokens[2]
    return tokens


def gradients(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("how", [{}, dict(tokens_at_once=30), dict(tokens_at_once=30, checkpointing=True)], ids=str)
@EVERY_KIND
def test_values_and_gradients_are_those_of_the_tower_itself(kind, folder, how):
    plain, tokens = head_of(kind, folder).text, token_ids()
    ours, weight = copy.deepcopy(plain), torch.randn(6, 32).double()
    expected, got = plain(tokens), encode_texts(ours, tokens, **how)
    torch.testing.assert_close(got, expected)
    assert not torch.allclose(got[0], got[1])
    for out in (expected, got):
        (out * weight).sum().backward()
    assert gradients(plain).keys() == gradients(ours).keys() and gradients(ours)
    for name, grad in gradients(plain).items():
        torch.testing.assert_close(gradients(ours)[name], grad)


@EVERY_KIND
def test_only_what_the_tower_does_not_read_is_cut(kind, folder):
    lengths = text_lengths(head_of(kind, folder).text, token_ids()).tolist()
    assert lengths == ([4, 12, 6, 6, 2, 8] if kind in CUT else [12] * 6)


@EVERY_KIND
def test_a_frozen_tower_gives_its_values_which_are_kept_until_its_weights_change(kind, folder):
    head, tokens = head_of(kind, folder), token_ids()
    head.text.requires_grad_(False)
    expected = torch.nn.functional.normalize(head.text(tokens), dim=-1)
    features = head.text_features(tokens, checkpointing=True)
    torch.testing.assert_close(features, expected)
    assert not features.requires_grad
    texts = Texts(tokens.unflatten(0, (3, 2)))
    kept = head.kept_text_features(texts)
    torch.testing.assert_close(kept, expected.unflatten(0, (3, 2)))
    assert head.kept_text_features(texts) is kept
    with torch.no_grad():
        for weight in head.text.parameters():
            weight.mul_(1.1)
    assert not torch.allclose(head.kept_text_features(texts), kept)


def encode_in_a_group(arch: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """On one rank: all features, and the gradients that DDP averages of a loss of the rank's own."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    tower = CLIPHead(json.loads(arch)).eval().double().text
    features = encode_texts(tower, token_ids(), share=True, tokens_at_once=24)
    (features[dist.get_rank()] * torch.arange(32)).sum().backward()
    for parameter in tower.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
    return features.detach().numpy(), {name: grad.numpy() / 2 for name, grad in gradients(tower).items()}


@pytest.mark.parametrize("kind", ["siglip", "xlm-roberta", "mt5"])
def test_ranks_share_out_the_texts_of_any_tower(kind, folder):
    alone = head_of(kind, folder).text
    expected = alone(token_ids())
    ((expected[0] + expected[1]) / 2 * torch.arange(32)).sum().backward()
    for features, grads in run_on(2, encode_in_a_group, json.dumps(arch_of(kind, folder))):
        torch.testing.assert_close(torch.from_numpy(features), expected.detach())
        assert grads.keys() == gradients(alone).keys()
        for name, grad in gradients(alone).items():
            torch.testing.assert_close(torch.from_numpy(grads[name]), grad)
