"""A study: what it makes, that it goes on where it stopped, and what is published of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pruning.errors import NotFoundError, StudyError
from pruning.fine_tuning import FineTuning
from pruning.granularity.mask import Mask
from pruning.level import Level
from pruning.study.bprune import bprune
from pruning.study.runner import CONTROLS, Plan, all_random
from pruning.trained_run import TrainedRun
from tests.support.same_draw import network_of
from tests.support.studies import CELLS, FLAGS, study, table

# Measured, and so another each time.
TIMED = "milliseconds"
LEVEL = Level.parse("x2")


def test_a_study_that_was_interrupted_ends_at_the_same_table(digits_run: Path, studied: Path, tmp_path: Path) -> None:
    """Cells that are gone are made again, from what they start from; those that are there are left alone."""
    again = tmp_path / "again"
    shutil.copytree(studied, again)
    for cell in ("snr-weight-p80", "random-channel-x2", "bprune-weight-p50"):
        shutil.rmtree(again / "cells" / cell)
    (again / "cells" / "snr-channel-p80" / "figures.json").unlink()
    kept = (again / "cells" / "snr-weight-p50" / "figures.json").stat().st_mtime_ns
    (again / "table.json").unlink()
    result = study(digits_run, again)
    assert result.exit_code == 0, result.output
    assert result.output.count("(known)") == len(CELLS) - 4
    assert (again / "cells" / "snr-weight-p50" / "figures.json").stat().st_mtime_ns == kept
    for before, after in zip(table(studied), table(again), strict=True):
        assert {k: v for k, v in before.items() if k != TIMED} == {k: v for k, v in after.items() if k != TIMED}


def test_a_study_of_something_else_is_not_gone_on_with(digits_run: Path, studied: Path) -> None:
    result = study(digits_run, studied, *FLAGS, "--rate", "0.5")
    assert result.exit_code == 1
    assert "holds a study with pruning_rate 1.0, not 0.5: choose another --out" in result.output


def test_controls_are_trials_unless_left_out() -> None:
    """Training from scratch has none without epochs; a control that is also a criterion is one trial."""

    def criteria(epochs: int, controls: Sequence[str]) -> set[str]:
        plan = Plan(["snr", "magnitude"], ["channel"], [LEVEL], tuning=FineTuning(epochs), controls=controls)
        return {trial.criterion for trial in plan.trials if trial.level == LEVEL}

    assert criteria(1, CONTROLS) == {"snr", "magnitude", "random", "scratch"}
    assert criteria(0, CONTROLS) == {"snr", "magnitude", "random"}
    assert criteria(1, ()) == {"snr", "magnitude"}
    assert len(Plan(["snr"], ["channel"], [LEVEL], controls=("random",)).trials) == 3
    with pytest.raises(NotFoundError, match="unknown control 'snr': there is magnitude, random, scratch, or none"):
        Plan(["snr"], ["channel"], [LEVEL], controls=("snr",))


def test_criteria_that_rank_by_scales_are_for_layers_that_all_have_some(run: TrainedRun) -> None:
    """Of a partly random run a study leaves them out, with BPrune's rule, and refuses those that are named."""
    everything = Plan([], ["weight"], [Level.parse("p50")], controls=())
    assert everything.criteria == ["activation", "gate_fisher", "snr", "free_energy"]
    few = Plan([], ["weight"], [Level.parse("p50")], controls=(), all_random=False)
    assert [trial.criterion for trial in few.trials] == ["none", "activation", "gate_fisher"]
    with pytest.raises(StudyError, match="snr ranks by scales, which not every layer of this study has"):
        Plan(["activation", "snr"], ["weight"], [Level.parse("p50")], all_random=False)
    assert all_random(run.posterior, "all")
    assert not all_random(run.posterior, "last:2")
    assert not all_random(run.posterior.without_scales(list(run.posterior.weights)[:1]), "all")


def test_bprune_leaves_noise_where_it_prunes() -> None:
    """Mean zero and scale softplus(0): the defect that ours must not have."""
    _, posterior = network_of("convnet", 3, 0)
    kept = {name: torch.rand_like(weight.mean) > 0.5 for name, weight in posterior.weights.items()}
    left = bprune(posterior, Mask(kept))
    for name, weight in left.weights.items():
        assert (weight.mean[~kept[name]] == 0).all()
        assert torch.allclose(weight.scale[~kept[name]], torch.nn.functional.softplus(torch.zeros(())))
        assert (weight.scale[kept[name]] == posterior.weights[name].scale[kept[name]]).all()
