"""A trained run of the digits to prune."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pruning.trained_run import TrainedRun
from training.trainer.run_dir import Run


@pytest.fixture(scope="module")
def run(digits_run: Path) -> TrainedRun:
    """The digits, with few images, so that an epoch is short."""
    whole = TrainedRun.load(Run(digits_run))
    return replace(whole, dataset=replace(whole.dataset, train=whole.dataset.train[:256]))
