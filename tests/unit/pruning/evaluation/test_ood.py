"""The score and the threshold by which images are taken for out of distribution."""

from __future__ import annotations

import pytest
import torch

from pruning.evaluation.calibration import calibrate
from pruning.evaluation.ood import SCORES, split_ood_images
from tests.support.answers import answers


def test_the_score_that_tells_strangers_best_is_chosen() -> None:
    """Strangers whose draws disagree are told by mutual information; those with small logits by their energy."""
    logits, labels = answers(2_000, 3)
    noise = torch.rand(2_000, dtype=torch.float64)
    generator = torch.Generator().manual_seed(4)
    torn = 6 * torch.nn.functional.one_hot(torch.randint(6, (8, 600), generator=generator), 6).float()
    chosen = calibrate(logits, labels, {"torn": torn}, noise).out_of_distribution
    assert chosen is not None
    assert chosen.score == "mutual_information"
    weak = logits[:, :600] - 8
    chosen = calibrate(logits, labels, {"weak": weak}, noise).out_of_distribution
    assert chosen is not None
    assert chosen.score == "energy"


def test_one_image_of_the_kind_in_twenty_is_taken_for_a_stranger() -> None:
    logits, labels = answers(2_000, 5)
    known = calibrate(logits, labels, {"flat": answers(600, 6, 0.8)[0]}, torch.rand(2_000, dtype=torch.float64))
    assert known.out_of_distribution is not None
    values = SCORES[known.out_of_distribution.score](logits, known.temperature)
    assert float((values > known.out_of_distribution.above).double().mean()) == pytest.approx(0.05, abs=1e-3)


def test_strangers_that_a_score_is_chosen_on_are_not_counted() -> None:
    chosen, counted = split_ood_images(torch.arange(7)[None, :, None])
    assert not set(chosen.flatten().tolist()) & set(counted.flatten().tolist())
    assert len(chosen[0]) + len(counted[0]) == 7
