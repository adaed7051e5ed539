"""The mean network beside draws: known gains, their standard error, and its own temperature."""

from __future__ import annotations

import math

import pytest
import torch

from model_store.small_samples import DrawsGain
from training.data.dataset import Turn
from training.evaluation.mean_network import LabelledLogits, compare_with_mean
from training.evaluation.metrics import losses, predictive
from training.evaluation.temperature import fit_temperature


def labelled(count: int, seed: int) -> LabelledLogits:
    """Logits of one network, and labels from its predictive distribution at temperature 2."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(1, count, 5, generator=generator)
    return LabelledLogits(logits, torch.multinomial(predictive(logits, 2.0), 1, generator=generator).squeeze(1))


def whole(held: LabelledLogits, test: LabelledLogits) -> list[Turn]:
    """One turn: all test images by all calibration images."""
    return [Turn(torch.arange(len(test.labels_N)), torch.arange(len(held.labels_N)))]


def test_its_own_draws_gain_nothing() -> None:
    """A posterior whose draws are its mean, at the same temperature: no gain, without error."""
    held, test = labelled(2_000, 0), labelled(1_000, 1)
    temperature = fit_temperature(held.logits_SNK, held.labels_N)
    found = compare_with_mean(predictive(test.logits_SNK, temperature), held, test, whole(held, test))
    assert found.temperature == temperature == pytest.approx(2, rel=0.1)
    assert (found.nll_gain, found.nll_gain_error) == (0, 0)
    assert found.draws_gain is DrawsGain.NOTHING


def test_the_gain_is_the_difference_and_its_error_is_paired() -> None:
    """Against predictions that are better by a known amount for each image."""
    held, test = labelled(2_000, 0), labelled(1_000, 1)
    mean_NK = predictive(test.logits_SNK, fit_temperature(held.logits_SNK, held.labels_N))
    better_NK = mean_NK.clone()
    better_NK[torch.arange(1_000), test.labels_N] *= math.exp(0.25)  # losses fall by a quarter each
    found = compare_with_mean(better_NK, held, test, whole(held, test))
    assert found.nll_gain == pytest.approx(0.25)
    assert found.nll_gain_error == pytest.approx(0, abs=1e-9)
    assert found.draws_gain is DrawsGain.CLEAR
    better_NK[:500] = mean_NK[:500]
    halves = compare_with_mean(better_NK, held, test, whole(held, test))
    assert halves.nll_gain == pytest.approx(0.125)
    assert halves.nll_gain_error == pytest.approx(0.125 / math.sqrt(999))
    assert found.nll == pytest.approx(float(losses(mean_NK, test.labels_N).mean()))


@pytest.mark.parametrize("seed", range(3))
def test_chance_is_no_gain(seed: int) -> None:
    """Differences around zero stay within two standard errors, nineteen times in twenty."""
    generator, counted = torch.Generator().manual_seed(seed), 0
    held = labelled(200, 0)
    for trial in range(100):
        test = labelled(400, 100 + trial)
        mean_NK = predictive(test.logits_SNK, fit_temperature(held.logits_SNK, held.labels_N))
        noise_NK = torch.randn(400, 1, generator=generator, dtype=torch.float64)
        counted += (
            compare_with_mean(mean_NK * (0.1 * noise_NK).exp(), held, test, whole(held, test)).draws_gain
            is DrawsGain.CLEAR
        )
    assert counted <= 9
