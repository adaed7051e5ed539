"""`slimbayes study` says what is wrong in one line, and makes nothing then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.studies import study


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--criteria", "snr,luck"], "unknown criterion 'luck'"),
        (["--granularities", "layer"], "unknown granularity 'layer'"),
        (["--levels", "p100"], "'p100' is not a level"),
        (["--schedule", "never"], "unknown schedule 'never'"),
        (["--ranking", "best"], "unknown ranking 'best'"),
    ],
)
def test_bad_flags(digits_run: Path, tmp_path: Path, flags: list[str], says: str) -> None:
    result = study(digits_run, tmp_path / "out", *flags)
    assert result.exit_code == 1
    assert says in result.output
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_finished_is_refused(digits_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    (run / "posterior.safetensors").unlink()
    result = study(run, tmp_path / "out")
    assert result.exit_code == 1
    assert "is not finished" in result.output
