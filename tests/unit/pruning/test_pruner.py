"""A run's posterior to that of a level, by every road."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pruning.cost.latency import measure_ms
from pruning.errors import LevelError, PosteriorError
from pruning.fine_tuning import FineTuning
from pruning.graph.compaction import fold_and_compact
from pruning.level import Level, parse_levels
from pruning.pruner import Pruner, PruningConfig
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import GaussianWeight, Posterior


def test_levels_by_multiply_adds_and_by_time(run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are limits that the compacted network keeps to. A millisecond is ten kilobytes here: clocks are noisy."""
    monkeypatch.setattr("pruning.cost.latency._measure_ms", lambda model, x: len(model) / 1e4)
    pruner = Pruner(run, PruningConfig(tuning=FineTuning(0)))
    dense = fold_and_compact(run.network(run.posterior))
    quarter = fold_and_compact(run.network(pruner.level(Level.parse("x4"), run.posterior)))
    assert quarter.multiply_adds <= dense.multiply_adds / 4
    wanted = Level("t", round(700 * measure_ms(dense)))
    faster = fold_and_compact(run.network(pruner.level(wanted, run.posterior)))
    assert measure_ms(faster) < measure_ms(dense)
    assert faster.multiply_adds < dense.multiply_adds


def test_a_level_that_cannot_be_reached_is_refused_before_anything_is_trained(run: TrainedRun) -> None:
    levels = Pruner(run, PruningConfig(granularity="weight")).levels(parse_levels("p50,x2"))
    with pytest.raises(LevelError, match="x2: zeros among weights save no multiply-adds"):
        next(levels)


def test_a_posterior_that_cannot_be_ranked_is_refused(run: TrainedRun) -> None:
    for mean, scale, says in ((torch.nan, 1.0, "not finite"), (1.0, 0.0, "scale of zero")):
        weights = dict(run.posterior.weights)
        name = next(iter(weights))
        shape = weights[name].mean.shape
        weights[name] = GaussianWeight(torch.full(shape, mean), torch.full(shape, scale))
        bad = replace(run, posterior=Posterior(weights, run.posterior.rest))
        with pytest.raises(PosteriorError, match=says):
            Pruner(bad, PruningConfig("snr")).level(Level.parse("p50"), bad.posterior)
