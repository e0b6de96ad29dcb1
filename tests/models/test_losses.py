"""What a head is trained by: over classes softmax, or a yes or no for each, as its tower was trained."""
import pytest
import torch
from heads import head, samples
from small import TOWERS
from torch.nn.functional import cross_entropy, one_hot


def test_loss_is_the_cross_entropy_of_every_draw_averaged():
    model = head()
    logits = torch.randn(3, 5, 4)
    labels = torch.tensor([0, 3, 1])
    expected = torch.stack([cross_entropy(logits[:, k], labels) for k in range(5)]).mean()
    losses = model.loss_by_feat(logits, samples([0, 3, 1]))
    assert torch.allclose(losses["loss_cls"], expected)
    assert {"top1_acc", "top5_acc"} <= set(losses)


def test_loss_takes_soft_targets_and_label_smoothing():
    """Mixup and cutmix give distributions over classes; smoothing mixes in the uniform one."""
    model = head(label_smooth_eps=0.1)
    logits, soft = torch.randn(2, 3, 4), torch.tensor([[0.7, 0.3, 0, 0], [0, 0, 1.0, 0]])
    smooth = 0.9 * soft + 0.1 / 4
    expected = -(smooth.unsqueeze(1) * logits.log_softmax(-1)).sum(-1).mean()
    assert torch.allclose(model.loss_by_feat(logits, samples(list(soft)))["loss_cls"], expected)


def sigmoid_reference(logits, targets):
    """Pair by pair: ``-log sigmoid(z)`` for the share that is meant, ``-log sigmoid(-z)`` for the rest."""
    total = 0.0
    for k in range(logits.shape[1]):
        for clip, target in zip(logits[:, k], targets):
            for z, y in zip(clip, target):
                total = total - y * torch.log(1 / (1 + torch.exp(-z))) - (1 - y) * torch.log(1 / (1 + torch.exp(z)))
    return total / (logits.shape[0] * logits.shape[1])


@pytest.mark.parametrize("labels, eps", [([0, 3, 1], 0.0), ([0, 3, 1], 0.1),
                                         (torch.tensor([[0.7, 0.3, 0, 0], [0, 0, 1.0, 0], [0.5, 0, 0, 0.5]]), 0.0)])
def test_sigmoid_loss_asks_yes_or_no_of_each_class(labels, eps):
    """Hard labels, smoothed ones, and mixtures as of mixup; averaged over draws; values and gradients."""
    logits = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    targets = one_hot(torch.tensor(labels), 4).double() if isinstance(labels, list) else labels.double()
    expected = sigmoid_reference(logits, (1 - eps) * targets + eps / 4)
    model = head(loss="sigmoid", label_smooth_eps=eps)
    found = model.loss_by_feat(logits, samples(list(labels)))["loss_cls"]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (found, expected)))


def test_loss_follows_the_tower_and_sigmoid_trains_scale_and_bias():
    siglip = TOWERS["siglip"]
    assert [type(model.loss_cls).__name__ for model in (
        head(), head(arch=siglip), head(arch=siglip, loss="softmax"), head(loss="sigmoid"),
        head(arch=siglip, loss_cls=dict(type="CrossEntropyLoss", loss_weight=2.0)))] == [
        "CrossEntropyLoss", "SigmoidLoss", "CrossEntropyLoss", "SigmoidLoss", "CrossEntropyLoss"]
    model, tokens = head(arch=siglip, templates=["{}"]).train(), torch.randn(2, 3, 16, 64)
    model.loss(tokens, samples([0, 3]))["loss_cls"].backward()
    assert model.clip.logit_bias.item() == -10
    assert model.clip.logit_bias.grad.abs() > 1e-6 and model.clip.logit_scale.grad.abs() > 1e-6
