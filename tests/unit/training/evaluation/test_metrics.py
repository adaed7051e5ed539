"""Metrics against values computed by hand, by scikit-learn and by counting."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torch import Tensor

from training.evaluation import metrics

P = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.5, 0.25, 0.25]], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 2, 0])


@pytest.fixture
def random_case() -> tuple[Tensor, Tensor]:
    """Probabilities [500, 4] and labels drawn from them, sharpened so that they are too sure."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return (2.5 * logits).softmax(1), labels


def test_the_most_frequent_class_is_right_on_its_share() -> None:
    assert metrics.majority_share(torch.tensor([2, 0, 2, 2, 1])) == pytest.approx(0.6)


def test_accuracy_by_hand() -> None:
    assert metrics.accuracy(P, LABELS) == 0.75


def test_nll_by_hand() -> None:
    assert metrics.nll(P, LABELS) == pytest.approx(-math.log(0.9 * 0.2 * 0.4 * 0.5) / 4)


def test_nll_agrees_with_scikit_learn(random_case: tuple[Tensor, Tensor]) -> None:
    p, labels = random_case
    assert metrics.nll(p, labels) == pytest.approx(log_loss(labels.numpy(), p.numpy(), labels=range(4)))


def test_nll_of_an_excluded_label_is_large_and_finite() -> None:
    assert metrics.nll(P[:1], torch.tensor([2])) == pytest.approx(12 * math.log(10))


def test_brier_by_hand() -> None:
    each = [0.01 + 0.01, 0.64 + 0.49 + 0.01, 0.09 + 0.09 + 0.36, 0.25 + 2 * 0.0625]
    assert metrics.brier(P, LABELS) == pytest.approx(sum(each) / 4)


def test_brier_agrees_with_scikit_learn_on_two_classes(random_case: tuple[Tensor, Tensor]) -> None:
    """Over both classes the distance is twice that of the one that scikit-learn takes."""
    p_one = random_case[0][:, 0]
    labels = (random_case[1] == 0).long()
    ours = metrics.brier(torch.stack([1 - p_one, p_one], 1), labels)
    assert ours == pytest.approx(2 * brier_score_loss(labels.numpy(), p_one.numpy()))


def test_ece_by_hand() -> None:
    """Confidences 0.9 and 0.7 are alone in their bins; 0.4 is in (6/15, 7/15] or below, 0.5 in (7/15, 8/15]."""
    assert metrics.ece(P, LABELS) == pytest.approx((0.1 + 0.7 + 0.6 + 0.5) / 4)


def test_ece_averages_within_a_bin() -> None:
    p = torch.tensor([[0.81, 0.19], [0.85, 0.15]], dtype=torch.float64)
    assert metrics.ece(p, torch.tensor([0, 1])) == pytest.approx(abs(0.5 - 0.83))


def test_ece_agrees_with_counting(random_case: tuple[Tensor, Tensor]) -> None:
    p, labels = random_case
    confidence, top = p.max(1)
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            gap = (top == labels)[inside].double().mean() - confidence[inside].mean()
            expected += float(inside.double().mean() * gap.abs())
    assert expected > 0.1
    assert metrics.ece(p, labels) == pytest.approx(expected)


def test_certain_and_right_is_perfectly_calibrated() -> None:
    assert metrics.ece(torch.eye(3, dtype=torch.float64), torch.arange(3)) == 0


def test_aurc_by_hand() -> None:
    """In order of confidence right, wrong, right, right: risks 0, 1/2, 1/3, 1/4."""
    assert metrics.aurc(P, LABELS) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_aurc_is_lower_when_errors_come_last() -> None:
    p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    assert metrics.aurc(p, torch.tensor([0, 0, 1])) == pytest.approx(1 / 9)
    assert metrics.aurc(p, torch.tensor([1, 0, 0])) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert metrics.aurc(p, torch.tensor([0, 0, 0])) == 0


def test_entropy_by_hand() -> None:
    found = metrics.entropy(torch.tensor([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]]))
    torch.testing.assert_close(found, torch.tensor([math.log(4), 0, math.log(2)]))


def test_predictive_is_the_mean_of_softmaxes_at_a_temperature() -> None:
    logits_SNK = torch.tensor([[[0.0, math.log(3)]], [[0.0, math.log(9)]]])
    torch.testing.assert_close(metrics.predictive(logits_SNK), torch.tensor([[0.175, 0.825]], dtype=torch.float64))
    assert metrics.predictive(logits_SNK[1:], temperature=2.0)[0, 1].item() == pytest.approx(0.75)
    assert metrics.predictive(logits_SNK.half()).dtype == torch.float64


def test_mutual_information_of_draws_that_contradict_each_other_is_ln_2() -> None:
    sure = torch.tensor([[[50.0, 0.0]], [[0.0, 50.0]]])
    assert metrics.mutual_information(sure).item() == pytest.approx(math.log(2))


def test_mutual_information_of_equal_draws_is_zero() -> None:
    logits = torch.randn(1, 20, 5, generator=torch.Generator().manual_seed(0)).expand(7, 20, 5)
    found = metrics.mutual_information(logits)
    assert found.shape == (20,)
    assert (found >= 0).all()
    assert found.max() < 1e-12


def test_mutual_information_is_the_mean_divergence_from_the_predictive() -> None:
    """The same number by another road: the mean over draws of KL(p_s ‖ p̄)."""
    logits = 2 * torch.randn(6, 9, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p = logits.softmax(-1)
    expected = (p * (p / p.mean(0)).log()).sum(-1).mean(0)
    torch.testing.assert_close(metrics.mutual_information(logits), expected)
    assert not torch.allclose(metrics.mutual_information(logits, temperature=3.0), expected)


SCORES = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@given(SCORES, SCORES)
def test_auroc_is_the_share_of_pairs_in_order(inside: list[int], outside: list[int]) -> None:
    pairs = [(a < b) + (a == b) / 2 for a in inside for b in outside]
    found = metrics.auroc(torch.tensor(inside, dtype=torch.float64), torch.tensor(outside, dtype=torch.float64))
    assert found == pytest.approx(sum(pairs) / len(pairs))
