"""A trained run: left as it was by pruning, traced once, and its level `auto`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pruning.errors import LevelError
from pruning.fine_tuning import FineTuning
from pruning.level import Level
from pruning.pruner import Pruner, PruningConfig
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import GaussianWeight, Posterior


def test_pruning_leaves_the_run_as_it_was(run: TrainedRun) -> None:
    before = {name: weight.mean.clone() for name, weight in run.posterior.weights.items()}
    Pruner(run, PruningConfig(tuning=FineTuning(2))).level(Level.parse("p50"), run.posterior)
    for name, mean in before.items():
        assert torch.equal(run.posterior.weights[name].mean, mean)


def test_the_architecture_is_traced_once(run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many levels are pruned and built: a fresh run traces, after which torch.fx is needed no more."""
    fresh = replace(run)
    assert fresh.network(fresh.posterior).multiply_adds == run.multiply_adds
    monkeypatch.delattr("torch.fx.symbolic_trace")
    posterior = Pruner(fresh, PruningConfig(tuning=FineTuning(0))).level(Level.parse("p50"), fresh.posterior)
    assert fresh.network(posterior).multiply_adds < run.multiply_adds


def test_auto_is_the_share_that_the_evidence_is_better_without(run: TrainedRun) -> None:
    level = run.auto_level()
    assert level.kind == "p"
    prior = run.recipe.prior_scale
    weights = run.posterior.weights.values()
    below = sum(int(((w.mean / w.scale) ** 2 <= 2 * (prior / w.scale).log()).sum()) for w in weights)
    assert level.amount == round(100 * below / run.weights)


def test_auto_of_a_posterior_that_needs_all_its_weights_is_no_level(run: TrainedRun) -> None:
    sure = {
        name: GaussianWeight(torch.ones_like(w.mean), 1e-3 * torch.ones_like(w.mean))
        for name, w in run.posterior.weights.items()
    }
    with pytest.raises(LevelError, match=r"better without 0\.0% of the weights"):
        replace(run, posterior=Posterior(sure, run.posterior.rest)).auto_level()
