"""Texts become what the text tower of an architecture was trained with, or the way out is told."""
import json
import warnings

import open_clip
import pytest
import torch
from toy import TINY

transformers = pytest.importorskip("transformers")

from local_tokenizers import as_berts, as_siglips, end_marked  # noqa: E402

from claver_mm.towers import tokenizer as tokenizers_of_towers  # noqa: E402
from claver_mm.towers.head import CLIPHead  # noqa: E402
from claver_mm.towers.tokenizer import context_of, count_tokens, tokenize, tokenizer_of  # noqa: E402


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    return {make.__name__: make(tmp_path_factory.mktemp(make.__name__)) for make in (end_marked, as_siglips, as_berts)}


@pytest.fixture
def hub(folders, monkeypatch):
    """Stands for the hub: names give local tokenizers. The names that were asked for."""
    asked, load = [], transformers.AutoTokenizer.from_pretrained

    def from_hub(name, **how):
        asked.append(name)
        return load(folders["as_siglips" if "iglip" in name.lower() else "as_berts"], **how)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", from_hub)
    tokenizers_of_towers._hub_tokenizer.cache_clear()
    yield asked
    tokenizers_of_towers._hub_tokenizer.cache_clear()


def with_text(**text) -> dict:
    return dict(TINY, text_cfg=dict(TINY["text_cfg"], **text))


def test_a_config_gets_the_tokenizer_that_it_names(folders):
    """CLIP's own was taken: its end mark is not the tower's, and all texts had one embedding."""
    arch = with_text(hf_tokenizer_name=folders["end_marked"], vocab_size=7, context_length=5, pool_type="eos",
                     eos_id=1, tokenizer_kwargs=dict(clean="canonicalize"))
    tokens = tokenize(["A cat!", "a dog runs"], arch)
    assert tokens.tolist() == [[3, 4, 1, 0, 0], [3, 5, 6, 1, 0]]
    features = CLIPHead(arch).text_features(tokens)
    assert not torch.allclose(features[0], features[1])
    assert (count_tokens("a cat", arch), count_tokens("a cat")) == (3, 4)
    with pytest.warns(UserWarning, match="7 tokens is cut to the context of 5: 'a cat a dog a cat', and 1 more"):
        tokenize(["a cat", "a cat a dog a cat", "a a a a a a a"], arch)


@pytest.mark.parametrize("arch, source, context", [
    ("ViT-B-16-SigLIP", "timm/ViT-B-16-SigLIP", 64), ("ViT-B-16-SigLIP2", "timm/ViT-B-16-SigLIP2", 64),
    ("ViT-SO400M-14-SigLIP", "timm/ViT-B-16-SigLIP", 16),
    ("ViT-B-16-SigLIP-i18n-256", "timm/ViT-B-16-SigLIP-i18n-256", 64), ("ViT-L-14-CLIPA", "bert-base-uncased", 32),
    ("PE-Core-B-16", None, 32), ("B/16", None, 77), ("coca_ViT-B-32", None, 76)])
def test_a_named_architecture_gets_the_tokens_that_open_clip_gives_it(hub, arch, source, context):
    texts = ["A Cat, runs!", "a dog"]
    ours = tokenize(texts, arch)
    assert hub == [source] * (source is not None) and context_of(arch) == context == ours.shape[1]
    assert torch.equal(ours, open_clip.get_tokenizer({"B/16": "ViT-B-16-quickgelu"}.get(arch, arch))(texts))


def test_siglip_sees_its_texts_in_canonical_form(hub):
    tokens = tokenize(["A Cat, runs!", "a cat  runs", "a_dog"], "ViT-B-16-SigLIP")
    assert tokens[:, :5].tolist() == [[2, 3, 5, 1, 1], [2, 3, 5, 1, 1], [2, 4, 1, 1, 1]]


@pytest.mark.parametrize("make, text, words", [
    ("end_marked", dict(pool_type="eos", eos_id=1), 5), ("as_siglips", dict(pool_type="last"), 5),
    ("as_berts", dict(pool_type="last"), 4), ("as_berts", dict(pool_type="last", tokenizer_kwargs=dict(
        strip_sep_token=True)), 4), ("as_berts", dict(pool_type="last", tokenizer_mode="clips"), 3),
    (None, {}, 4)], ids=str)
def test_a_text_that_just_fits_is_no_cut_text_and_one_with_a_word_more_is(folders, make, text, words):
    """SigLIP pads with its end mark, CLIPA blanks its own, ``clips`` adds marks: their texts were cut in silence."""
    named = dict(hf_tokenizer_name=folders[make], vocab_size=10) if make else {}
    arch = with_text(context_length=6, **text, **named)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = tokenize(["cat " * words], arch)
    with pytest.warns(UserWarning, match="text of 7 tokens is cut to the context of 6: 'cat cat"):
        cut = tokenize(["cat " * (words + 1)], arch)
    assert torch.equal(cut, whole)


def test_a_long_text_is_cut_with_a_warning_that_names_it():
    with pytest.warns(UserWarning, match="text of 102 tokens is cut to the context of 77: 'walk walk"):
        tokens = tokenize(["walk " * 100], "B/16")
    assert tokens[0, -1] == tokens.max()


def test_texts_that_are_cut_are_counted_in_one_warning():
    """A bank of thousands of texts for a small context gave as many warnings."""
    with pytest.warns(UserWarning, match="'walk walk.*, and 2 more of 4$") as caught:
        tokenize(["walk " * 90, "walk", "run " * 90, "hop " * 90], "B/16")
    assert len(caught) == 1


@pytest.mark.parametrize("make, text", [("end_marked", dict(pool_type="eos", eos_id=1)), ("as_siglips", {}),
                                        ("as_berts", dict(tokenizer_kwargs=dict(strip_sep_token=True)))], ids=str)
def test_a_text_of_which_the_vocabulary_knows_nothing_is_told_of(folders, make, text):
    arch = with_text(hf_tokenizer_name=folders[make], vocab_size=10, **{"pool_type": "last", **text})
    with pytest.warns(UserWarning, match="knows no part of 'бег', and 1 more of 4; such texts are all one"):
        tokenize(["a cat", "бег", "跳 绳", "a бег"], arch)


@pytest.mark.parametrize("text, says", [
    (dict(vocab_size=6, pool_type="eos", eos_id=1), "knows 6 tokens, the tokenizer .* gives 6"),
    (dict(vocab_size=7, pool_type="eos", eos_id=2), "reads a text at its mark 2 .*gives 'a cat runs' no such end"),
    (dict(vocab_size=7), "reads a text at its highest token, which is not the end mark 1"),
])
def test_a_tokenizer_that_is_not_the_towers_is_refused(folders, text, says):
    with pytest.raises(ValueError, match=says):
        tokenize(["a cat runs"], with_text(hf_tokenizer_name=folders["end_marked"], **text))


def test_clips_tokenizer_is_refused_for_a_tower_with_another_end_mark():
    with pytest.raises(ValueError, match="its mark 2 .eos_id., but the tokenizer .CLIP's own"):
        tokenize(["a cat"], with_text(pool_type="eos", eos_id=2))


def test_strings_need_the_vocabulary_of_the_tokenizer():
    with pytest.raises(ValueError, match="knows 100 tokens.*give token ids"):
        tokenize(["a"], with_text(vocab_size=100))


def test_a_model_in_a_folder_has_its_tokenizer_there(tmp_path):
    """Whatever its config calls it: that name is of where the model was made."""
    config = with_text(hf_tokenizer_name="somebody/elses", vocab_size=7, pool_type="eos", eos_id=1)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(dict(model_cfg=config)))
    with pytest.raises(ValueError, match=f"tokenizer '{tmp_path}' of 'local-dir:{tmp_path}' cannot be had .*put its "
                                         "files, tokenizer.json, .* into that folder"):
        tokenize(["a cat"], f"local-dir:{tmp_path}")
    end_marked(tmp_path)
    assert tokenize(["a cat"], f"local-dir:{tmp_path}")[0, :4].tolist() == [3, 4, 1, 0]
    assert tokenizer_of(f"local-dir:{tmp_path}") is tokenizer_of(f"local-dir:{tmp_path}")


def test_a_tokenizer_that_cannot_be_had_is_named_with_its_files_and_their_place(tmp_path, monkeypatch):
    def offline(name, **how):
        raise OSError(f"no network for {name}")

    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="'.*empty' of the given model config cannot be had .*put its files"):
        tokenize(["a"], with_text(hf_tokenizer_name=str(tmp_path / "empty")))
    tokenizers_of_towers._hub_tokenizer.cache_clear()
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", offline)
    with pytest.raises(ValueError) as caught:
        count_tokens("a cat", "ViT-B-16-SigLIP-384")
    for part in ("tokenizer 'timm/ViT-B-16-SigLIP' of 'ViT-B-16-SigLIP-384' cannot be had (no network",
                 "copy the folder models--timm--ViT-B-16-SigLIP of the hub's cache", "tokenizer.json",
                 "hf_tokenizer_name"):
        assert part in str(caught.value)
