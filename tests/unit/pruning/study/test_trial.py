"""Cells of a study on the disk: damaged ones are named, and none is made twice."""

from __future__ import annotations

import shutil
from pathlib import Path

from pruning.level import Level
from pruning.study.trial import Trial, TrialStore
from tests.support.same_draw import network_of
from tests.support.studies import study
from training.bayesian.posterior import Posterior


def test_damaged_cells_are_named(digits_run: Path, studied: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(studied, again)
    (again / "cells" / "snr-weight-p50" / "figures.json").write_text("{")
    assert "the figures of snr-weight-p50 are damaged: remove" in study(digits_run, again).output


def test_a_posterior_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    _, posterior = network_of("convnet", 3, 0)
    store, trial = TrialStore(tmp_path), Trial("snr", "weight", Level.parse("p80"))
    assert store.posterior(trial) is None
    assert store.result(trial) is None
    store.save_posterior(trial, posterior)
    found = store.posterior(trial)
    assert isinstance(found, Posterior)
    assert found.weights.keys() == posterior.weights.keys()
