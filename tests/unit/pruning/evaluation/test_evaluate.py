"""What is measured of a level, against known answers."""

from __future__ import annotations

import math

import pytest
import torch

from pruning.evaluation.evaluate import reference_histograms


def test_histograms_are_shares() -> None:
    """Each sums to one, and values fall into the bins they belong to."""
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    reference = reference_histograms(p, torch.tensor([0.0, math.log(2)], dtype=torch.float64))
    for histogram in (reference.confidence, reference.entropy, reference.mutual_information):
        assert sum(histogram) == pytest.approx(1)
    assert reference.confidence[10] == reference.confidence[19] == 0.5
    assert reference.entropy[0] == reference.entropy[19] == 0.5
