"""Fine-tuning between rounds of pruning: a level is met after it, in every schedule."""

from __future__ import annotations

import pytest

from pruning.fine_tuning import SCHEDULES, FineTuning
from pruning.granularity.mask import weights_left
from pruning.level import DENSE, Level, parse_levels
from pruning.pruner import Pruner, PruningConfig
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior


def left(run: TrainedRun, posterior: Posterior) -> float:
    return weights_left(posterior) / run.weights


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_a_level_is_met_after_fine_tuning(run: TrainedRun, granularity: str, schedule: str) -> None:
    """Zeros stay zeros while training goes on, and what is left has moved and has scales."""
    config = PruningConfig("snr", granularity, tuning=FineTuning(4, schedule, distillation=0.5))
    posterior = Pruner(run, config).level(Level.parse("p80"), run.posterior)
    assert left(run, posterior) == pytest.approx(0.2, abs=1e-3 if granularity == "weight" else 0.08)
    for weight in posterior.weights.values():
        assert ((weight.mean == 0) == (weight.scale == 0)).all()


def test_a_gradual_level_starts_from_the_one_before(run: TrainedRun) -> None:
    """What is gone at p50 is gone at p80, though the scores have moved in between."""
    made = dict(Pruner(run, PruningConfig("snr", "weight", tuning=FineTuning(1))).levels(parse_levels("p50,p80")))
    assert made[DENSE] is run.posterior
    half, fifth = made[Level.parse("p50")], made[Level.parse("p80")]
    for name, weight in half.weights.items():
        assert ((fifth.weights[name].mean != 0) <= (weight.mean != 0)).all()
