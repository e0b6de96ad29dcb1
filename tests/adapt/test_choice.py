"""What is chosen on held-out clips, against values written out by hand."""
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from claver_mm.adapt.choice import (
    best_candidate,
    best_temperature,
    interval,
    judged_by_the_other_half,
    none_of_these,
    reliability,
)


def test_the_interval_is_wilsons():
    assert interval(8, 10) == pytest.approx((0.4901624, 0.9433178), abs=1e-6)
    assert interval(0, 10)[0] == 0 and interval(10, 10)[1] == pytest.approx(1) and interval(0, 0) == (0, 1)


def test_the_temperature_is_that_of_the_lowest_loss():
    torch.manual_seed(0)
    logits, truth = torch.randn(4000, 5) * 2, 3.0
    labels = torch.distributions.Categorical(logits=logits).sample()
    found = best_temperature(lambda t: cross_entropy(logits * truth / t, labels).item())
    assert found == pytest.approx(truth, rel=0.06)
    grid = [math.exp(x / 50) for x in range(-100, 100)]
    lowest = min(cross_entropy(logits * truth / t, labels) for t in grid)
    assert cross_entropy(logits * truth / found, labels) <= lowest + 1e-4


def test_reliability_counts_every_clip_in_its_bin():
    probabilities = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.3, 0.7], [0.5, 0.5]])
    rows, error = reliability(probabilities, torch.tensor([0, 1, 1, 0]))
    assert [row["count"] for row in rows] == [0, 0, 0, 0, 0, 1, 0, 1, 0, 2] or [
        row["count"] for row in rows] == [0, 0, 0, 0, 0, 1, 1, 0, 0, 2]  # 0.7 in float32 lies on the border
    assert rows[9]["accuracy"] == 0.5 and rows[9]["confidence"] == pytest.approx(0.95)
    assert error == pytest.approx(2 / 4 * 0.45 + 1 / 4 * 0.3 + 1 / 4 * 0.5, abs=1e-6)


def test_a_choice_among_noise_has_no_advantage_when_the_other_half_judges():
    own, judged = [], []
    for seed in range(30):
        torch.manual_seed(seed)
        labels, logits = torch.randint(2, (40,)), torch.randn(1000, 40, 2)
        own.append(logits[best_candidate(logits, labels)].argmax(dim=1).eq(labels).float().mean().item())
        judged.append(judged_by_the_other_half(logits, labels, seed).eq(labels).float().mean().item())
    assert sum(own) / 30 > 0.7 and abs(sum(judged) / 30 - 0.5) < 0.06


def test_more_right_goes_before_more_sure():
    labels = torch.tensor([0, 1, 1])
    vague = torch.tensor([[0.1, 0.0], [0.0, 0.1], [0.1, 0.0]])
    rash = torch.tensor([[9.0, 0.0], [0.0, 9.0], [0.0, 9.0]])
    wrong = torch.tensor([[9.0, 0.0], [0.0, 9.0], [9.0, 0.0]])
    assert best_candidate(torch.stack([vague, wrong, rash]), labels) == 2
    assert best_candidate(torch.stack([wrong, vague]), labels) == 1  # as many right


def test_the_threshold_keeps_what_it_says_and_turns_away_what_is_unlike():
    torch.manual_seed(0)
    labels = torch.arange(3).repeat(40)
    sure = torch.full((120, 3), 0.02)
    sure[torch.arange(120), labels] = 0.96
    found = none_of_these(sure, labels)
    assert found.kept == 1 and found.turned_away == 1 and 0.5 < found.value <= 0.96
    unsure = torch.softmax(torch.randn(120, 3), dim=1)
    found = none_of_these(unsure, labels)
    most = unsure.max(dim=1).values
    assert found.kept == pytest.approx((most >= found.value).float().mean().item()) and found.kept >= 0.94


def test_two_classes_leave_nothing_to_take_out():
    found = none_of_these(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 1]))
    assert found.turned_away is None and found.value <= 0.65


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("count", [1, 2, 10, 19, 20, 45])
def test_the_threshold_turns_away_one_in_twenty_at_most_however_few_there_are(classes, count):
    """Between two videos lay the bound, so that of ten it turned away one."""
    torch.manual_seed(0)
    probabilities = torch.softmax(torch.randn(count, classes), dim=1)
    found = none_of_these(probabilities, probabilities.argmax(dim=1))
    assert found.kept * count >= count - count // 20
    assert found.kept == pytest.approx((probabilities.max(dim=1).values >= found.value).float().mean().item())
