"""What several packages' tests share: one small run of the whole line on real digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pruning.cli import app as prune_app
from tests.model_store.backends import place, registry, swift
from training.cli import app as train_app

__all__ = ["digits_run", "digits_store", "place", "registry", "swift"]

# Threads that share two cores with other processes wait for each other more than they compute.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on digits, short of its best but real."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    arguments = ["--data", "digits", "--estimator", "reparam", "--epochs", "8", "--warmup-epochs", "2"]
    result = CliRunner().invoke(train_app, [*arguments, "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="session")
def digits_store(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one version of the model `digits`, at dense, p50 and p90."""
    store = tmp_path_factory.mktemp("stores") / "store"
    arguments = ["--levels", "p50,p90", "--epochs", "2", "--model", "digits", "--store", str(store)]
    result = CliRunner().invoke(prune_app, [str(digits_run), *arguments])
    assert result.exit_code == 0, result.output
    return store
