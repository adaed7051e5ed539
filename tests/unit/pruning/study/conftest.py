"""One run of few digits, and one study of it, for all tests of studies."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.sharing import Once
from tests.support.studies import study
from training.cli.train import app


@pytest.fixture(scope="session")
def digits_run(once: Once) -> Path:
    """A finished run on a third of the digits, so that trials are short."""

    def train(folder: Path) -> None:
        arguments = ["--data", "digits", "--limit", "600", "--estimator", "reparam", "--epochs", "12"]
        result = CliRunner().invoke(app, [*arguments, "--warmup-epochs", "2", "--out", str(folder)])
        assert result.exit_code == 0, result.output

    return once("few-digits-run", train)


@pytest.fixture(scope="session")
def studied(once: Once, digits_run: Path) -> Path:
    """A whole study of the digits."""

    def make(folder: Path) -> None:
        result = study(digits_run, folder, plots=True)
        assert result.exit_code == 0, result.output

    return once("study", make)
