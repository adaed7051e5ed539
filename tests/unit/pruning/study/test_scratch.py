"""The control from scratch: what pruning left of the architecture, and nothing of its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pruning.fine_tuning import FineTuning
from pruning.level import Level
from pruning.pruner import Pruner, PruningConfig
from pruning.study.scratch import fresh_posterior
from pruning.trained_run import TrainedRun
from training.trainer.run_dir import Run


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_it_has_the_shapes_the_zeros_and_the_random_layers_of_the_pruned_network(
    digits_run: Path, granularity: str
) -> None:
    run = TrainedRun.load(Run(digits_run))
    config = PruningConfig("magnitude", granularity, tuning=FineTuning(0), random="last:2")
    pruned = Pruner(run, config).level(Level.parse("p80"), run.posterior)
    fresh = fresh_posterior(run, pruned)
    assert fresh.rest.keys() == pruned.rest.keys()
    for name, weight in fresh.weights.items():
        kept = pruned.weights[name].mean != 0
        assert ((weight.mean != 0) == kept).all()
        assert ((weight.scale > 0) == (pruned.weights[name].scale > 0)).all()
        assert not torch.equal(weight.mean, pruned.weights[name].mean)
        of_kept = torch.stack([weight.mean[kept], pruned.weights[name].mean[kept]])
        assert abs(float(torch.corrcoef(of_kept)[0, 1])) < 0.5
