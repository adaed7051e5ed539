"""The temperature is found, and few images do not ask for certainty."""

from __future__ import annotations

import pytest
import torch

from training.data.dataset import Turn
from training.evaluation.metrics import predictive
from training.evaluation.temperature import calibrated, fit_temperature


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.0])
def test_temperature_is_found(truth: float) -> None:
    """Labels drawn from softmax(logits / T) give T back."""
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(1, 20_000, 5, generator=generator)
    labels = torch.multinomial(predictive(logits, truth), 1, generator=generator).squeeze(1)
    assert fit_temperature(logits, labels) == pytest.approx(truth, rel=0.05)


def test_few_images_that_are_all_right_do_not_ask_for_certainty() -> None:
    """The prior holds the temperature where data say only: colder."""
    logits = torch.tensor([[[3.0, 0.0]]]).expand(4, 100, 2)
    labels = torch.zeros(100, dtype=torch.long)
    assert 0.2 < fit_temperature(logits, labels) < 1


def test_each_turn_has_the_temperature_of_its_own_images() -> None:
    """In order, whatever the order of the turns."""
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(3, 60, 5, generator=generator)
    labels = torch.randint(0, 5, (60,), generator=generator)
    halves = [torch.arange(1, 60, 2), torch.arange(0, 60, 2)]
    turns = [Turn(halves[0], halves[1]), Turn(halves[1], halves[0])]
    found = calibrated(logits, labels, logits, turns)
    for tested, calibrating in (halves, halves[::-1]):
        temperature = fit_temperature(logits[:, calibrating], labels[calibrating])
        assert torch.equal(found[tested], predictive(logits, temperature)[tested])
