"""Texts against videos: scores, draws, views, cache; losses are in ``test_losses``."""
import pytest
import torch
from heads import CLASSES, head, samples
from mmengine.logging import MessageHub
from small import TOWERS
from torch.nn.functional import one_hot
from toy import TINY

from claver_mm.clip import tokenize


def perfect_logits(labels, M):
    """Logits (B, M, C) of a scorer that is always right and always sure."""
    return 50 * one_hot(torch.tensor(labels), len(CLASSES)).float().unsqueeze(1).expand(-1, M, -1)


def test_the_bias_of_a_tower_cancels_from_scores():
    model, tokens = head(arch=TOWERS["siglip"]).eval(), torch.randn(2, 3, 16, 64)
    scores = []
    for bias in (-10.0, 0.0):
        torch.nn.init.constant_(model.clip.logit_bias, bias)
        with torch.no_grad():
            scores.append(torch.stack([each.pred_score for each in model.predict(tokens, samples([0, 1]))]))
    torch.testing.assert_close(*scores)
    assert torch.allclose(scores[0].sum(-1), torch.ones(2))


def test_draws_are_the_same_for_all_classes_and_follow_their_number():
    model = head()
    draws = []
    for iteration in (0, 1, 0):
        model.next_draw = iteration
        draws.append(model._draw().tolist())
    assert draws[0] == draws[2] != draws[1]
    assert len(set(draws[0])) == 5
    assert model.train().text_features().shape == (4, 5, 32)


def test_draws_without_a_runner_go_on_by_themselves():
    """After any Runner in the process a loop of one's own drew the same texts for ever: its iteration lay in a hub."""
    MessageHub.get_current_instance().update_info("iter", 7)
    model = head()
    assert model._draw().tolist() != model._draw().tolist()
    assert head()._draw().tolist() != model._draw().tolist()


def test_fewer_descriptions_than_draws_are_all_used():
    model = head(templates=["{}", "a video of {}"]).train()
    assert model.text_features().shape == (4, 2, 32)


@pytest.mark.parametrize("score", ["prob", "similarity"])
@pytest.mark.parametrize("M", [1, 3, 16])
def test_a_perfect_scorer_is_always_right(score, M):
    """The published evaluation divides class numbers by the number of descriptions: it scores 0.25 %."""
    labels = [0, 1, 2, 3, 3]
    results = head(score=score).eval().predict_by_feat(perfect_logits(labels, M), samples(labels))
    assert [result.pred_label.item() for result in results] == labels


def test_repeating_a_description_of_every_class_changes_nothing():
    once, twice = head(templates=["{}", "a video of {}"]).eval(), None
    twice = head(templates=["{}", "a video of {}"]).eval()
    twice.load_state_dict(once.state_dict())
    twice.set_texts([[text for text in (name, f"a video of {name}") for _ in range(2)] for name in CLASSES])
    feats = torch.randn(3, 2, 17, 64)
    with torch.no_grad():
        scores = [torch.stack([s.pred_score for s in model.predict(feats, samples([0, 1, 2]))])
                  for model in (once, twice)]
    assert torch.allclose(*scores, atol=1e-6)


def test_score_is_softmax_over_classes_then_mean_over_descriptions_then_over_views():
    logits = torch.randn(6, 3, 4)  # 2 clips of 3 views
    scores = [result.pred_score for result in head().eval().predict_by_feat(logits, samples([0, 1]))]
    expected = logits.softmax(-1).mean(1).unflatten(0, (2, 3)).mean(1)
    assert torch.allclose(torch.stack(scores), expected, atol=1e-6)


def test_averaged_scores_of_views_are_log_probabilities():
    logits = torch.randn(2, 3, 4)
    model = head(average_clips="score").eval()
    scores = torch.stack([result.pred_score for result in model.predict_by_feat(logits, samples([0, 1]))])
    assert torch.allclose(scores.exp(), logits.softmax(-1).mean(1), atol=1e-6)


def test_similarity_score_is_the_sum_over_descriptions():
    logits = torch.randn(4, 3, 4)
    model = head(score="similarity", average_clips="score").eval()
    scores = torch.stack([result.pred_score for result in model.predict_by_feat(logits, samples([0, 1]))])
    assert torch.allclose(scores, logits.sum(1).unflatten(0, (2, 2)).mean(1), atol=1e-6)


def test_logits_are_scaled_cosines_of_the_mean_unit_frame():
    model = head(templates=["{}"]).eval()
    feats = torch.randn(2, 3, 17, 64)
    with torch.no_grad():
        frames = model.clip.ln_post(feats[:, :, 0]) @ model.clip.proj
        video = (frames / frames.norm(dim=-1, keepdim=True)).mean(1)
        text = model.clip.text(model.text_tokens[:, 0])
        text = text / text.norm(dim=-1, keepdim=True)
        assert torch.allclose(model(feats)[:, 0], model.clip.logit_scale.exp() * video @ text.T, atol=1e-5)


def test_a_frame_may_be_the_mean_of_its_tokens():
    model, feats = head(pool="mean").eval(), torch.randn(2, 3, 17, 64)
    averaged = feats.mean(2, keepdim=True)
    with torch.no_grad():
        frames = model.clip.ln_post(averaged[:, :, 0]) @ model.clip.proj
        expected = torch.nn.functional.normalize(frames, dim=-1).mean(1)
        assert torch.allclose(model.video_features(feats), expected, atol=1e-6)
    with pytest.raises(ValueError, match="the neck gives class tokens alone; set class_tokens_only=False"):
        model.video_features(feats[:, :, :1])


def test_evaluation_encodes_texts_once(monkeypatch):
    model = head().eval()
    calls = []
    encode = model.clip.text_features
    monkeypatch.setattr(model.clip, "text_features", lambda *args, **how: calls.append(1) or encode(*args, **how))
    with torch.no_grad():
        assert torch.equal(model.text_features(), model.text_features())
    assert len(calls) == 1


@pytest.mark.parametrize("change", ["texts", "order of words", "step", "data", "permuted", "load"])
def test_kept_text_features_are_never_stale(change):
    """The published cache ignores its input; writes through ``.data`` (EMA) also pass by tensor version counters."""
    model = head(templates=["{}"]).eval()
    with torch.no_grad():
        model.set_texts(["dog bites man", "running", "swimming", "reading"])
        before = model.text_features().clone()
        weight = model.clip.text.ln_final.weight
        if change == "texts":
            model.set_texts(["cooking", "running", "swimming", "reading"])
        elif change == "order of words":
            model.set_texts(["man bites dog", "running", "swimming", "reading"])
        elif change == "data":
            weight.data.copy_(torch.rand(32))
        elif change == "permuted":
            weight.data.copy_(torch.rand(32))
            model.text_features()
            before = model.text_features().clone()
            weight.data.copy_(weight.data.flip(0))
        elif change == "load":
            model.load_state_dict(head(templates=["{}"]).state_dict())
        else:
            weight.grad = torch.rand_like(weight)
            torch.optim.SGD([weight], lr=0.1).step()
        after = model.text_features()
        assert not torch.allclose(before, after)
        assert torch.equal(after, model.clip.text_features(model.text_tokens))


def test_scores_are_float32_under_autocast():
    model = head().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(1, 2, 17, 64)).dtype == torch.float32


def test_kept_text_features_know_their_precision():
    model = head().eval()
    with torch.no_grad():
        exact = model.text_features()
        with torch.autocast("cpu", torch.bfloat16):
            coarse = model.text_features()
        assert exact.dtype != coarse.dtype
        assert torch.equal(model.text_features(), exact)


def test_frozen_parts_have_no_gradients():
    model = head(frozen_text=True, frozen_visual=True).train()
    model(torch.randn(2, 3, 17, 64, requires_grad=True)).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"clip.logit_scale"}
    assert not model.clip.text.training


def test_a_frozen_text_tower_is_encoded_once_for_all_training_steps():
    model = head(frozen_text=True).train()
    shapes = []
    model.clip.text.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
    for iteration in range(3):
        model.next_draw = iteration
        features = model.text_features()
        model.next_draw = iteration
        expected = model.clip.kept_text_features(model.texts)[:, model._draw()]
        assert torch.equal(features, expected) and not features.requires_grad
        if iteration == 0:
            once = len(shapes)
    assert len(shapes) == once > 0
    model.load_state_dict(head().state_dict())
    model.text_features()
    assert len(shapes) == 2 * once


def test_a_training_step_encodes_the_drawn_texts_alone_and_no_further_than_they_go():
    model = head(num_draws=2).train()
    shapes = []
    model.clip.text.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
    model.text_features()
    assert sum(count for count, _ in shapes) == 2 * len(CLASSES)
    assert all(length < 24 for _, length in shapes)


BANK = {name: {"synonym": [f"{name} {i}" for i in range(3)], "body_parts": [f"legs {name}"] * 2} for name in CLASSES}


@pytest.mark.parametrize("how, M", [
    (dict(), 12 + 5), (dict(templates=None), 5), (dict(templates=["{}"], kinds=["synonym"]), 4),
    (dict(templates=None, kinds=["body_parts", "synonym"], per_kind=1), 2), (dict(kinds=()), 12)])
def test_a_bank_and_templates_together_are_the_texts(how, M):
    assert head(bank=BANK, **how).text_tokens.shape == (4, M, 24)


def test_texts_stand_template_first_then_kind_by_kind():
    model = head(bank=BANK, templates=["a {}"], kinds=["body_parts", "synonym"], per_kind=1)
    assert torch.equal(model.text_tokens[1], tokenize(["a running", "legs running", "running 0"], TINY))


def test_texts_may_be_of_any_number_of_classes():
    model = head().eval()
    model.set_texts(["a", "b"])
    assert (model.num_classes, model.class_names) == (2, None)
    assert model(torch.randn(1, 2, 17, 64)).shape == (1, 1, 2)


def test_token_ids_are_taken_as_texts():
    model = head(classes=None)
    ids = torch.zeros(3, 2, 24, dtype=torch.long)
    ids[..., 3] = 49407
    model.set_texts(ids)
    assert model.num_classes == 3
    assert model.eval()(torch.randn(1, 2, 17, 64)).shape == (1, 2, 3)


@pytest.mark.parametrize("kwargs, says", [
    (dict(num_classes=5), "names 4 classes, but num_classes=5"),
    (dict(templates=["a video"]), "must hold '{}' exactly once"),
    (dict(score="max"), "unknown score 'max'"),
    (dict(pool="max"), "unknown pool 'max'"),
    (dict(loss="hinge"), "unknown loss 'hinge'; one of softmax, sigmoid"),
    (dict(loss="sigmoid", loss_cls=dict(type="CrossEntropyLoss")), "are two losses; give one of them"),
    (dict(num_draws=0), "num_draws must be at least 1"),
    (dict(templates=None), "neither templates nor bank: the classes have no texts"),
    (dict(templates=None, bank=BANK, kinds=()), "the classes have no texts"),
    (dict(kinds=["synonym"]), "kinds and per_kind choose from a bank, and there is none"),
    (dict(per_kind=2), "kinds and per_kind choose from a bank, and there is none"),
    (dict(classes=None, bank=BANK), "a bank holds texts of classes, and there are none; give classes"),
    (dict(bank={"jumping": ["up"]}), "the bank has no texts for 3 of 4 classes: 'running', 'swimming', 'reading'"),
])
def test_bad_settings_are_named(kwargs, says):
    """Kinds without a bank, and a bank without classes, had no effect."""
    with pytest.raises(ValueError, match=says):
        head(**kwargs)


def test_texts_that_do_not_fit_are_named():
    """A string was taken for classes of one letter each."""
    with pytest.raises(ValueError, match=r"class 0 has 1 texts, class 2 \(\['c'\]\) has 2"):
        head(classes=None).set_texts([["a"], ["b"], ["c", "d"]])
    with pytest.raises(ValueError, match="at least one class is needed"):
        head().set_texts([])
    with pytest.raises(ValueError, match="the classes have none; at least one for each is needed"):
        head().set_texts([[], []])
    with pytest.raises(ValueError, match="texts='jumping' is one string; give a list"):
        head().set_texts("jumping")
    with pytest.raises(ValueError, match=r"token ids of shape \(3, 77\); expected \(C, M, 24\) or \(C, 24\)"):
        head().set_texts(torch.zeros(3, 77, dtype=torch.long))
    with pytest.raises(ValueError, match="the head has no texts"):
        head(classes=None)(torch.randn(1, 2, 17, 64))
