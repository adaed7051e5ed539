"""A trained run that is pruned is left as it was."""

from __future__ import annotations

import torch

from pruning.fine_tuning import FineTuning
from pruning.level import Level
from pruning.pruner import Pruner, PruningConfig
from pruning.trained_run import TrainedRun


def test_the_subject_is_left_as_it_was(run: TrainedRun) -> None:
    before = {name: weight.mean.clone() for name, weight in run.posterior.weights.items()}
    Pruner(run, PruningConfig(tuning=FineTuning(2))).level(Level.parse("p50"), run.posterior)
    for name, mean in before.items():
        assert torch.equal(run.posterior.weights[name].mean, mean)
