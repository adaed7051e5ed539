"""Scores of weights."""

from __future__ import annotations

import pytest
import torch

from pruning.criteria import criterion
from pruning.errors import UnknownNameError
from training.posterior import GaussianWeight


def test_snr() -> None:
    """|mean| / scale; zero for a pruned weight, infinite for one without noise."""
    weight = GaussianWeight(torch.tensor([-3.0, 0.0, 0.0, 2.0]), torch.tensor([1.5, 1.0, 0.0, 0.0]))
    assert criterion("snr")(weight).tolist() == [2.0, 0.0, 0.0, torch.inf]


def test_unknown_criterion_lists_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="there is snr"):
        criterion("luck")
