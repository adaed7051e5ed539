"""Quality on test images that calibrate each other in turns: against many new images, and against one calibration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model_store.manifest import Calibration
from pruning.evaluation.calibration import calibrate
from pruning.evaluation.quality import MeasuredImages, measure_quality
from tests.support.answers import answers
from training.data.dataset import Dataset, Images, Pixels, Turn
from training.evaluation import metrics

OOD = {"flat": answers(40, 2, 0.8)[0]}


def in_turns(labels_N: Tensor) -> list[Turn]:
    held = Images(torch.zeros(len(labels_N), 1, 1, 1, dtype=torch.uint8), labels_N)
    return Dataset("made", tuple("abcdef"), Pixels(1, 1, 1, (0.0,), (1.0,)), held, held, held, {}).turns


def measured_in_turns(logits_SNK: Tensor, labels_N: Tensor, seed: int) -> tuple[MeasuredImages, Calibration]:
    """Images tested in turns, and the calibration on all of them."""
    noise_N = torch.rand(len(labels_N), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    turns = in_turns(labels_N)
    calibrations = [
        calibrate(logits_SNK[:, own], labels_N[own], OOD, noise_N[own]) for own in (t.calibrating for t in turns)
    ]
    whole = calibrate(logits_SNK, labels_N, OOD, noise_N)
    return MeasuredImages.of(logits_SNK, labels_N, turns, calibrations, noise_N), whole


def test_coverage_in_turns_is_that_on_new_images() -> None:
    """What 60 images say of themselves in turns is on average what their calibration does on thousands of others.

    A set is as likely to hold the label of an image left out as of a new one, but for the tenth fewer images.
    """
    new_SNK, new_N = answers(4_000, 999)
    said, true = [], []
    for seed in range(25):
        tested, whole = measured_in_turns(*answers(60, seed), seed)
        said.append(tested.coverage["lac"]["0.1"])
        p_NK = metrics.predictive(new_SNK, whole.temperature)
        within_N = 1 - p_NK.gather(1, new_N[:, None]).squeeze(1) <= whole.conformal_quantiles["0.1"]
        true.append(float(within_N.double().mean()))
    assert sum(said) / len(said) == pytest.approx(sum(true) / len(true), abs=0.025)
    assert sum(true) / len(true) >= 0.88


def test_only_error_rates_that_all_turns_have_are_measured() -> None:
    """With 20 images each turn has 18, too few for sets that miss one in twenty."""
    tested, whole = measured_in_turns(*answers(20, 3), 1)
    assert [*whole.conformal_quantiles] == ["0.1", "0.05"]
    assert [*tested.coverage["lac"]] == [*tested.coverage["aps"]] == ["0.1"]


def test_one_turn_is_one_calibration() -> None:
    """Of figures in the order of the images, of whatever turns they come from."""
    logits_SNK, labels_N = answers(50, 5)
    noise_N = torch.rand(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    known = calibrate(*answers(200, 6), OOD, torch.rand(200, dtype=torch.float64))
    mixed = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    none = torch.arange(0)
    one = MeasuredImages.of(logits_SNK, labels_N, [Turn(torch.arange(50), none)], [known], noise_N)
    turns = [Turn(mixed[:20], none), Turn(mixed[20:], none)]
    two = MeasuredImages.of(logits_SNK, labels_N, turns, [known, known], noise_N)
    torch.testing.assert_close(one.p_NK, two.p_NK)
    torch.testing.assert_close(one.information_N, two.information_N)
    assert torch.equal(one.abstains_N, two.abstains_N)
    assert one.coverage == two.coverage
    found = measure_quality(one, logits_SNK, labels_N, OOD, known)
    assert found.test_images == 50
    assert found.nll == pytest.approx(metrics.nll(metrics.predictive(logits_SNK, known.temperature), labels_N))
