"""The command on runs in folders: resumed, interrupted, kept, on a full disk, compiled, and from trained networks."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.support.invocation import one_line
from tests.support.requirements import program
from tests.support.waiting import HANG_S
from training.cli.train import app
from training.trainer import train as trainer
from training.trainer.run_dir import Run


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without --out go to the working folder."""
    monkeypatch.chdir(tmp_path)


def test_resume_needs_no_more_than_the_folder(tmp_path: Path) -> None:
    """What the run was begun with holds, and what is asked besides must agree with it."""
    run = ["--out", str(tmp_path / "run")]
    begun = ["--estimator", "ivon", "--epochs", "2", "--limit", "40", "--seed", "3"]
    assert CliRunner().invoke(app, [*begun, *run]).exit_code == 0
    before = (tmp_path / "run" / "posterior.safetensors").read_bytes()
    for same in ([], ["--seed", "3"]):
        assert CliRunner().invoke(app, ["--resume", *same, *run]).exit_code == 0
    refused = CliRunner().invoke(app, ["--resume", "--seed", "4", *run])
    assert refused.exit_code == 1
    assert "made with seed 3, this run asks for 4" in one_line(refused.stderr)
    assert (tmp_path / "run" / "posterior.safetensors").read_bytes() == before
    nothing = CliRunner().invoke(app, ["--resume", *begun, "--out", str(tmp_path / "other")])
    assert nothing.exit_code == 0
    assert "No run to resume" in nothing.stdout


@pytest.mark.parametrize("estimator", ["flipout", "ivon"])
def test_a_posterior_starts_at_a_trained_network(tmp_path: Path, estimator: str) -> None:
    plain, out = tmp_path / "plain", tmp_path / "run"
    common = ["--limit", "200", "--device", "cpu"]
    assert (
        CliRunner().invoke(app, ["--estimator", "none", "--epochs", "5", *common, "--out", str(plain)]).exit_code == 0
    )
    arguments = ["--estimator", estimator, "--init-from", str(plain), "--epochs", "1", "--lr", "1e-9", *common]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    start, found = Run(plain).posterior(), Run(out).posterior()
    for name, weight in found.weights.items():
        torch.testing.assert_close(weight.mean, start.weights[name].mean, rtol=0, atol=1e-5)
        if estimator == "flipout":
            torch.testing.assert_close(weight.scale, (0.1 * start.weights[name].mean.abs()).clamp_min(1e-4))
    refused = CliRunner().invoke(app, [*arguments, "--arch", "resnet20", "--out", str(tmp_path / "other")])
    assert refused.exit_code == 1
    assert "of another architecture" in one_line(refused.stderr)


@pytest.mark.slow
@pytest.mark.system
def test_a_compiled_network_learns_too(tmp_path: Path, finish: Callable[[list[str]], str]) -> None:
    """In a process of its own: the compiler warns of its own parts."""
    program("g++", "`apt-get install g++`")
    run = Run(tmp_path / "run")
    arguments = [
        "--estimator",
        "ivon",
        "--limit",
        "400",
        "--batch-size",
        "8",
        "--epochs",
        "3",
        "--compile",
        "--out",
        str(run.folder),
    ]
    finish([sys.executable, "-m", "training", *arguments])
    first, *_, last = run.lines("log.jsonl")
    assert last["data"] < 0.5 * first["data"]
    assert run.quality()["accuracy"] > 0.5


@pytest.mark.slow
def test_an_interruption_says_how_to_go_on(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "training", "--limit", "200", "--epochs", "500", "--out", str(folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + HANG_S
        while not (folder / "checkpoint.pt").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=HANG_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert (
        said.splitlines()[-1]
        == f"Interrupted; `slimbayes train --resume --out {folder}` continues from its checkpoint."
    )
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_full_disk_ends_with_one_line_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writes fail as they would there."""
    folder = tmp_path / "run"
    arguments = ["--limit", "200", "--epochs", "2", "--estimator", "ivon", "--out", str(folder)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        result = CliRunner().invoke(app, arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), "typer would print a traceback"
    assert "Error: cannot write" in result.stderr
    assert "File too large" in result.stderr
    assert not list(folder.glob(".*.new"))
    assert not Run(folder).finished
    assert CliRunner().invoke(app, [*arguments, "--resume"]).exit_code == 0


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
    monkeypatch.setattr(trainer, "TEST_DRAWS", 1)  # 10,000 test images a draw
    arguments = ["--data", "cifar10", "--data-dir", str(cifar_binary), "--arch", "resnet20", "--epochs", "1"]
    result = CliRunner().invoke(app, [*arguments, "--limit", "200", "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    run = Run(tmp_path / "run")
    assert run.quality()["images"] == 200
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
