"""Accuracy, similarity and order sensitivity, on models whose answers are known."""
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch import nn
from toy import toy_config

from claver_mm.explain.evaluation import (
    Evaluation,
    evaluate,
    order_sensitivity,
    partner_indices,
    reverse_time,
    temporal_transformer,
)


class Head(nn.Module):
    """Two classes of one description: is the first frame brighter than the last, or darker."""

    def __init__(self):
        super().__init__()
        self.clip = SimpleNamespace(logit_scale=torch.tensor(math.log(10.0)), logit_bias=None)

    def forward(self, x):
        slope = (x[:, :, -1] - x[:, :, 0]).mean((1, 2, 3))
        return 10 * torch.stack([-slope, slope], -1)[:, None]  # (V, 1, 2)


class Model(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.cls_head = head

    def test_step(self, batch):
        assert not self.training
        scores = self.cls_head(torch.cat(batch["inputs"]).float()).unflatten(0, (len(batch["inputs"]), -1))
        for sample, score in zip(batch["data_samples"], scores.mean((1, 2))):
            sample.pred_score = score
        return batch["data_samples"]


def video(slopes, label):
    """Views ``(V, 3, 3, 2, 2)`` whose brightness rises by ``slope`` from the first frame to the last."""
    times = torch.linspace(-0.5, 0.5, 3).view(1, 1, 3, 1, 1)
    return dict(inputs=torch.tensor(slopes).view(-1, 1, 1, 1, 1) * times.expand(1, 3, 3, 2, 2),
                data_samples=SimpleNamespace(gt_label=torch.tensor([label])))


def loader():
    return [pseudo_collate([video([0.2, 0.4], 1), video([-0.5, -0.1], 0)]), pseudo_collate([video([0.6, 0.0], 0)])]


def test_answers_and_similarities_are_those_of_the_model():
    model = Model(Head()).train()
    result = evaluate(model, loader())
    assert result.labels.tolist() == [1, 0, 0] and result.predictions.tolist() == [1, 0, 1]
    assert result.similarities == pytest.approx([0.3, 0.3, -0.3])  # mean over views, without the logit scale
    assert result.accuracy == pytest.approx(2 / 3) and result.similarity == pytest.approx(0.1)
    assert model.training and not model.cls_head._forward_hooks


def test_a_bias_of_logits_is_no_similarity():
    """SigLIP's models add one to their logits."""
    model = Model(Head())
    plain = evaluate(model, loader()).similarities
    model.cls_head.clip.logit_bias = torch.tensor(-5.0)
    model.cls_head.register_forward_hook(lambda head, args, logits: logits - 5)
    assert evaluate(model, loader()).similarities == pytest.approx(plain)


def test_a_change_of_the_inputs_comes_before_the_model():
    result = evaluate(Model(Head()), loader(), change=reverse_time)
    assert result.predictions.tolist() == [0, 1, 0]
    assert result.similarities == pytest.approx([-0.3, -0.3, 0.3])


def test_a_video_that_could_not_be_read_is_wrong_and_has_no_similarity():
    result = evaluate(Model(Head()), [pseudo_collate([video([0.2], 1), video([0.2], -1)])])
    assert result.accuracy == 0.5 and result.similarity == pytest.approx(0.2) and np.isnan(result.similarities[1])


def test_the_hook_is_gone_after_an_exception():
    model = Model(Head())
    with pytest.raises(RuntimeError, match="broken loader"):
        evaluate(model, _broken())
    assert not model.cls_head._forward_hooks


def _broken():
    yield loader()[0]
    raise RuntimeError("broken loader")


def test_what_cannot_be_evaluated_is_named():
    with pytest.raises(ValueError, match="ContrastiveTextHead, the model has a Identity"):
        evaluate(Model(nn.Identity()), loader())
    with pytest.raises(ValueError, match="no video"):
        evaluate(Model(Head()), [])
    several = pseudo_collate([video([0.2], 1)])
    several["data_samples"][0].gt_label = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"labels \[0, 1\]"):
        evaluate(Model(Head()), [several])
    with pytest.raises(ValueError, match=r"\(4, 3, 32, 32\), expected clips \(V, 3, T, h, w\).*NCTHW"):
        reverse_time(torch.zeros(4, 3, 32, 32))
    with pytest.raises(ValueError, match="no temporal transformer"):
        temporal_transformer(Model(Head()))


def test_a_real_recogniser_over_its_test_loader(motion_videos, tmp_path):
    cfg = toy_config("claver_motion", motion_videos, tmp_path)
    model = MODELS.build(cfg.model)
    batches = Runner.build_dataloader(cfg.test_dataloader)
    result = evaluate(model, batches)
    lines = (motion_videos / "val.txt").read_text().splitlines()
    assert result.labels.tolist() == [int(line.split()[-1]) for line in lines]
    head, views = model.cls_head, batches.dataset[0]["inputs"]
    with torch.no_grad():
        model.eval()
        clips = model.data_preprocessor(dict(inputs=[views], data_samples=None))["inputs"]  # (1, V, 3, T, h, w)
        tokens, _ = model.neck(model.backbone(clips.flatten(0, 1)))
        expected = torch.einsum("ve,me->", head.video_features(tokens), head.text_features()[result.labels[0]])
    assert result.similarities[0] == pytest.approx(expected.item() / (len(clips[0]) * 3), abs=1e-5)
    assert temporal_transformer(model) is model.neck.transformer
    assert np.array_equal(evaluate(model, batches, reverse_time).labels, result.labels)


def evaluation(labels, predictions) -> Evaluation:
    return Evaluation(np.array(labels), np.array(predictions), np.zeros(len(labels)))


def test_partners_are_found_by_name():
    assert partner_indices(["a", "b", "c"], [("c", "a")]).tolist() == [2, -1, 0]
    for pairs, says in (([("a", "d")], "the pair a / d does not name two of the 3 classes"),
                        ([("a", "a")], "a / a does not name two"),
                        ([("a", "b"), ("b", "c")], "'b' stands in two pairs")):
        with pytest.raises(ValueError, match=says):
            partner_indices(["a", "b", "c"], pairs)


def test_order_sensitivity_counts_changes_and_partners():
    """Classes a, b are partners, c has none."""
    forwards = evaluation([0, 1, 2, 0], [0, 1, 2, 1])
    backwards = evaluation([0, 1, 2, 0], [1, 1, 0, 2])
    found = order_sensitivity(forwards, backwards, np.array([1, 0, -1]))
    assert found == dict(videos=4, accuracy=0.75, changed=0.75, to_partner=pytest.approx(1 / 3),
                         right_backwards=pytest.approx(1 / 3))
    assert order_sensitivity(forwards, backwards) == dict(videos=4, accuracy=0.75, changed=0.75)
    alone = order_sensitivity(evaluation([2], [2]), evaluation([2], [0]), np.array([1, 0, -1]))
    assert math.isnan(alone["to_partner"]) and math.isnan(alone["right_backwards"])
