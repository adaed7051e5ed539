"""The temperature is found, and few images do not ask for certainty."""

from __future__ import annotations

import pytest
import torch

from training.evaluation.metrics import predictive
from training.evaluation.temperature import fit_temperature


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
