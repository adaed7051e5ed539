"""`slimbayes prune` says what is wrong in one line, and publishes nothing then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pruning.cli.prune import app


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--levels", "p100"], "expected dense, p and a per cent from 1 to 99"),
        (["--levels", "p50,half"], "'half'"),
        (["--granularity", "layer"], "there is weight, channel"),
        (["--criterion", "luck"], "there is snr, free_energy, activation, gate_fisher, magnitude, random"),
        (["--random", "last:0"], "random layers must be all, auto or last:N, got last:0"),
        (["--random", "last:9"], "the network has 4 layers with weights: expected at most last:4"),
        (["--ranking", "best"], "there is global, layer"),
        (["--schedule", "never"], "there is gradual, one-shot"),
        (["--granularity", "weight", "--levels", "x4"], "save no multiply-adds"),
        (["--granularity", "weight", "--target-latency-ms", "1"], "save no milliseconds"),
        (["--levels", "x900"], "no more channels can be removed"),
        (["--model", "Not A Name"], "cannot name a model"),
        (["--sign-key", "nowhere.key"], "cannot read the key in nowhere.key"),
    ],
)
def test_bad_flags(digits_run: Path, tmp_path: Path, flags: list[str], says: str) -> None:
    store = tmp_path / "store"
    result = CliRunner().invoke(app, [str(digits_run), *flags, "--epochs", "0", "--store", str(store)])
    assert result.exit_code == 1
    assert says in result.output
    assert "Traceback" not in result.output
    assert not list(store.rglob("*")) if store.exists() else True


def test_no_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "nowhere"), "--store", str(tmp_path / "store")])
    assert result.exit_code == 1
    assert "there is no run in" in result.output


def test_run_of_another_architecture(digits_run: Path, tmp_path: Path) -> None:
    """A recipe that does not fit its posterior is refused."""
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    facts = json.loads((run / "recipe.json").read_text())
    facts["recipe"]["architecture"] = "resnet20"
    (run / "recipe.json").write_text(json.dumps(facts))
    result = CliRunner().invoke(app, [str(run), "--store", str(tmp_path / "store")])
    assert result.exit_code == 1
    assert "another architecture" in result.output


def test_data_that_have_moved_are_looked_for_where_they_are_said_to_be(digits_run: Path, tmp_path: Path) -> None:
    run, here = tmp_path / "run", tmp_path / "here"
    shutil.copytree(digits_run, run)
    here.mkdir()
    facts = json.loads((run / "recipe.json").read_text())
    facts["recipe"]["data"], facts["data_dir"] = "cifar10", str(tmp_path / "gone")
    (run / "recipe.json").write_text(json.dumps(facts))
    arguments = [str(run), "--store", str(tmp_path / "store")]
    assert f"there is no folder {tmp_path / 'gone'}" in CliRunner().invoke(app, arguments).output
    assert f"no CIFAR-10 in {here}" in CliRunner().invoke(app, [*arguments, "--data-dir", str(here)]).output


def test_damaged_posterior(digits_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    data = (run / "posterior.safetensors").read_bytes()
    (run / "posterior.safetensors").write_bytes(data[: len(data) // 2])
    result = CliRunner().invoke(app, [str(run), "--store", str(tmp_path / "store")])
    assert result.exit_code == 1
    assert "cannot be read" in result.output
