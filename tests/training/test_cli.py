"""The command: bad input ends with one line and no traceback, good input with a posterior."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from training import trainer
from training.architectures import ARCHITECTURES
from training.cli import app
from training.data import SOURCES
from training.estimators import ESTIMATORS
from training.run import Run

BAD = [
    pytest.param(["--data", "mnist"], ["unknown data set 'mnist'", *SOURCES], id="data"),
    pytest.param(["--estimator", "laplace"], ["unknown estimator 'laplace'", *ESTIMATORS], id="estimator"),
    pytest.param(["--arch", "vit"], ["unknown architecture 'vit'", *ARCHITECTURES], id="architecture"),
    pytest.param(["--data", "cifar10"], ["cifar10 needs --data-dir"], id="no folder"),
    pytest.param(["--data", "cifar10", "--data-dir", "nowhere"], ["there is no folder nowhere"], id="missing folder"),
    pytest.param(["--epochs", "-1"], ["epochs must be at least 1, got -1"], id="epochs"),
    pytest.param(["--lr", "nan"], ["learning rate must be above 0, got nan"], id="learning rate"),
    pytest.param(["--device", "tpu"], ["unknown device 'tpu'", "cuda"], id="device"),
    pytest.param(["--limit", "5"], ["at least two classes"], id="limit"),
]


def one_line(text: str) -> str:
    """The text's only line."""
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without --out go to the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("arguments", "parts"), BAD)
def test_bad_input_ends_with_one_line(arguments: list[str], parts: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), "typer would print a traceback"
    line = one_line(result.stderr)
    assert line.startswith("Error: ")
    assert all(part in line for part in parts)
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_so() -> None:
    result = CliRunner().invoke(app, ["--device", "cuda"])
    assert result.exit_code == 1
    assert "this machine offers none: use --device cpu or auto" in one_line(result.stderr)


def test_what_is_not_a_number_is_refused() -> None:
    result = CliRunner().invoke(app, ["--epochs", "many"])
    assert result.exit_code == 2
    assert "--epochs" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_bad_input_ends_with_one_line_in_a_process_of_its_own(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "training", "--data", "mnist"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert one_line(result.stderr).startswith("Error: unknown data set 'mnist'")
    assert result.stdout == ""


def test_every_option_reaches_the_recipe(tmp_path: Path) -> None:
    arguments = ["--arch", "convnet", "--estimator", "reparam", "--epochs", "1", "--batch-size", "16", "--lr", "0.002"]
    arguments += ["--prior-scale", "0.2", "--initial-scale", "0.03", "--beta", "0.5", "--warmup-epochs", "2"]
    arguments += ["--seed", "7", "--limit", "40", "--device", "cpu"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    run = Run(tmp_path / "runs" / "digits-convnet-reparam")
    assert run.recipe().to_json() == {
        "data": "digits",
        "architecture": "convnet",
        "estimator": "reparam",
        "epochs": 1,
        "batch_size": 16,
        "learning_rate": 0.002,
        "prior_scale": 0.2,
        "initial_scale": 0.03,
        "beta": 0.5,
        "warmup_epochs": 2.0,
        "seed": 7,
        "limit": 40,
    }
    last = result.stdout.splitlines()[-1]
    assert f"test accuracy {run.quality()['accuracy']:.2%}" in last
    assert "359 images" in last


def test_a_finished_run_is_kept_unless_overwrite_is_asked_for(tmp_path: Path) -> None:
    arguments = ["--estimator", "reparam", "--epochs", "1", "--limit", "40", "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    refused = CliRunner().invoke(app, [*arguments, "--seed", "1"])
    assert refused.exit_code == 1
    assert "--overwrite" in one_line(refused.stderr)
    assert CliRunner().invoke(app, [*arguments, "--seed", "1", "--overwrite"]).exit_code == 0
    assert Run(tmp_path / "run").recipe().seed == 1


@pytest.mark.slow
def test_resnet20_trains_on_cifar10(cifar_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "DRAWS", 1)  # 10,000 test images a draw
    arguments = ["--data", "cifar10", "--data-dir", str(cifar_binary), "--arch", "resnet20", "--epochs", "1"]
    result = CliRunner().invoke(app, [*arguments, "--limit", "200", "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    run = Run(tmp_path / "run")
    assert run.quality()["images"] == 10_000
    assert len(run.posterior().weights) == 22
    assert run.facts()["data_dir"] == str(cifar_binary.resolve())
    [line] = (run.folder / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["images"] == 180
    assert len(list((run.folder / "examples").glob("*.png"))) == 32


def test_resume_and_overwrite_exclude_each_other(tmp_path: Path) -> None:
    """One keeps what is there and the other does not."""
    result = CliRunner().invoke(app, ["--resume", "--overwrite", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "pass one of them" in result.output
    assert not (tmp_path / "run").exists()
