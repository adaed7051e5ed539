"""A whole run: what is left of it, that it is not overwritten, and that an interruption leaves no trace in it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.waiting import HANG_S
from training.bayesian.bayesianize import plain_parts
from training.cli.train import app
from training.data import load_dataset
from training.distributed.world import World
from training.errors import CheckpointError, DivergedError, RecipeError, RunError
from training.recipe import Recipe
from training.trainer.checkpoint import Checkpoint
from training.trainer.loop import Step
from training.trainer.recorder import Recorder
from training.trainer.run_dir import Run
from training.trainer.train import train

RECIPE = Recipe(epochs=2, estimator="reparam", limit=60, warmup_epochs=1.0)
EPOCHS = 12
COMMAND = ["--limit", "200", "--epochs", str(EPOCHS), "--device", "cpu"]
# The same command with a checkpoint after each epoch, however short, and after each step: one is mostly being written.
EPOCHLY = "import training.trainer.recorder as r; r.EPOCH_CHECKPOINT_S = -1; from training.cli.train import app; app()"
EAGER = "import training.trainer.recorder as r; r.CHECKPOINT_EVERY_S = -1; from training.cli.train import app; app()"


def posterior_bytes(folder: Path) -> bytes:
    return (folder / "posterior.safetensors").read_bytes()


def untimed(run: Run) -> list[dict[str, float]]:
    """The log without what depends on the machine's speed."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in run.lines("log.jsonl")]


class _Interruption(Exception):
    pass


def interrupted_at(images: int) -> Callable[[Recorder, Step], None]:
    """A recorder that saves at that many images, and is interrupted at the step after it."""
    record = Recorder.__call__

    def call(self: Recorder, step: Step) -> None:
        if step.images > images:
            raise _Interruption
        record(self, step)
        if step.images == images:
            self.save()

    return call


def test_a_run_leaves_its_recipe_log_quality_and_posterior(tmp_path: Path, alone: World) -> None:
    run = train(RECIPE, tmp_path, alone)
    assert run.finished
    assert run.recipe() == RECIPE
    quality = run.quality()
    assert quality["mean_network"]["nll_gain"] == pytest.approx(
        quality["mean_network"]["nll"] - quality["nll_calibrated"]
    )
    assert quality["images"] == len(np.load(tmp_path / "predictions.npz")["labels"])
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"0.0.weight", "1.0.weight", "3.0.weight", "6.weight"} == set(run.posterior().weights)


def test_a_finished_run_is_not_overwritten(tmp_path: Path, alone: World) -> None:
    train(RECIPE, tmp_path, alone)
    before = posterior_bytes(tmp_path)
    with pytest.raises(RunError, match="holds a finished run: choose another --out, or pass --overwrite"):
        train(replace(RECIPE, seed=1), tmp_path, alone)
    with pytest.raises(RunError, match="made with seed 0, this run asks for 1"):
        train(replace(RECIPE, seed=1), tmp_path, alone, resume=True)
    assert train(RECIPE, tmp_path, alone, resume=True).finished
    assert posterior_bytes(tmp_path) == before


def test_overwrite_replaces_a_finished_run(tmp_path: Path, alone: World) -> None:
    train(RECIPE, tmp_path / "run", alone)
    train(replace(RECIPE, seed=1), tmp_path / "run", alone, overwrite=True)
    train(replace(RECIPE, seed=1), tmp_path / "other", alone)
    assert posterior_bytes(tmp_path / "run") == posterior_bytes(tmp_path / "other")
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2


def test_what_is_refused_overwrites_nothing(tmp_path: Path, alone: World) -> None:
    train(RECIPE, tmp_path, alone)
    before = posterior_bytes(tmp_path)
    with pytest.raises(RecipeError, match="unknown augmentation 'flip'"):
        train(replace(RECIPE, augmentation="flip"), tmp_path, alone, overwrite=True)
    assert posterior_bytes(tmp_path) == before


@pytest.mark.parametrize("estimator", ["none", "reparam"])
def test_a_broken_network_does_not_replace_the_last_good_checkpoint(
    tmp_path: Path, alone: World, monkeypatch: pytest.MonkeyPatch, estimator: str
) -> None:
    """Where a step breaks it, the loss of the next would tell, but a checkpoint may be due before."""
    monkeypatch.setattr("training.trainer.recorder.CHECKPOINT_EVERY_S", -1.0)
    with pytest.raises(DivergedError, match="lower the learning rate"):
        train(replace(RECIPE, estimator=estimator, epochs=20, warmup_epochs=0, learning_rate=1e30), tmp_path, alone)
    checkpoint = tmp_path / "checkpoint.pt"
    if checkpoint.exists():
        assert all(bool(tensor.isfinite().all()) for tensor in Checkpoint.load(checkpoint).model.values())
    assert not Run(tmp_path).finished


@pytest.mark.parametrize(("least_s", "saved"), [(-1.0, 2), (1e9, 0)])
def test_short_epochs_do_not_each_write_a_checkpoint(
    tmp_path: Path, alone: World, monkeypatch: pytest.MonkeyPatch, least_s: float, saved: int
) -> None:
    """An epoch of few images takes less time than its checkpoint would."""
    written: list[Path] = []
    monkeypatch.setattr("training.trainer.recorder.EPOCH_CHECKPOINT_S", least_s)
    monkeypatch.setattr(Checkpoint, "save", lambda self, path: written.append(path))
    train(RECIPE, tmp_path, alone)
    assert len(written) == saved


@pytest.fixture
def interrupted(tmp_path: Path, alone: World, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that stopped in the middle of its second epoch."""
    monkeypatch.setattr(Recorder, "__call__", interrupted_at(50 + 32))
    with pytest.raises(_Interruption):
        train(RECIPE, tmp_path / "run", alone)
    monkeypatch.undo()
    assert Checkpoint.load(tmp_path / "run" / "checkpoint.pt").images == 50 + 32
    return tmp_path / "run"


def test_a_run_resumed_within_an_epoch_equals_one_that_was_not(interrupted: Path, tmp_path: Path, alone: World) -> None:
    train(RECIPE, interrupted, alone, resume=True)
    train(RECIPE, tmp_path / "whole", alone)
    assert posterior_bytes(interrupted) == posterior_bytes(tmp_path / "whole")
    ours, theirs = (Run(folder) for folder in (interrupted, tmp_path / "whole"))
    assert untimed(ours) == untimed(theirs)
    assert ours.lines("layers.jsonl") == theirs.lines("layers.jsonl")


@pytest.mark.parametrize("estimator", ["reparam", "ivon"])
@pytest.mark.parametrize("at", ["before", "after"])
def test_random_layers_are_chosen_once(
    tmp_path: Path, alone: World, monkeypatch: pytest.MonkeyPatch, estimator: str, at: str
) -> None:
    """After two thirds of the run; its state has the choice, so that a run that is resumed does not choose again."""
    ours = {"ivon": {"learning_rate": 0.1, "beta": 0.1, "prior_scale": 3.0, "warmup_epochs": 0.0}}
    recipe = RECIPE.changed(estimator=estimator, epochs=6, random="auto", **ours.get(estimator, {}))
    size = len(load_dataset("digits", None, seed=0, limit=60).train)
    monkeypatch.setattr(
        "training.trainer.train.deterministic_prefix",
        lambda plain, posterior, *_: asked.append(1) or list(plain_parts(plain)[0])[:2],
    )
    asked: list[int] = []
    whole = train(recipe, tmp_path / "whole", alone).posterior()
    assert asked == [1]
    fixed = [name for name, weight in whole.weights.items() if weight.deterministic]
    assert len(fixed) == 2
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "__call__", interrupted_at(size * (3 if at == "before" else 5)))
        with pytest.raises(_Interruption):
            train(recipe, tmp_path / "resumed", alone)
    train(recipe, tmp_path / "resumed", alone, resume=True)
    assert posterior_bytes(tmp_path / "resumed") == posterior_bytes(tmp_path / "whole")
    assert len(asked) == 2


def test_only_the_last_layers_of_a_run_are_random(tmp_path: Path, alone: World) -> None:
    """As many as there are: more are refused before anything is written."""
    posterior = train(RECIPE.changed(random="last:1"), tmp_path / "run", alone).posterior()
    assert [name for name, weight in posterior.weights.items() if not weight.deterministic] == ["6.weight"]
    with pytest.raises(RecipeError, match="the network has 4 layers with weights: expected at most last:4"):
        train(RECIPE.changed(random="last:5"), tmp_path / "more", alone)
    plain = RECIPE.changed(estimator="none", warmup_epochs=0.0, random="last:1")
    with pytest.raises(RecipeError, match="the plain network has no random layers: leave out --random last:1"):
        train(plain, tmp_path / "more", alone)
    assert not (tmp_path / "more").exists()


def test_an_interrupted_run_is_not_touched_unasked(interrupted: Path, alone: World) -> None:
    before = (interrupted / "checkpoint.pt").read_bytes()
    with pytest.raises(RunError, match="holds an interrupted run: pass --resume to continue, or --overwrite"):
        train(RECIPE, interrupted, alone)
    assert (interrupted / "checkpoint.pt").read_bytes() == before


def test_a_run_does_not_go_on_with_other_data(interrupted: Path, alone: World) -> None:
    """As where pictures came to a folder: some that it was trained on could be tested on."""
    facts = json.loads((interrupted / "recipe.json").read_text())
    facts["split"]["train"] += 1
    (interrupted / "recipe.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match=r"the data have changed .* other split"):
        train(RECIPE, interrupted, alone, resume=True)


def test_a_damaged_log_is_told(interrupted: Path, alone: World) -> None:
    with (interrupted / "log.jsonl").open("ab") as file:
        file.write(b"\0\0\n")
    with pytest.raises(RunError, match=r"log.jsonl of the run in .* is damaged"):
        train(RECIPE, interrupted, alone, resume=True)


def test_a_run_cannot_be_resumed_with_another_recipe(interrupted: Path, alone: World) -> None:
    for other in (replace(RECIPE, epochs=3), replace(RECIPE, architecture="resnet20")):
        with pytest.raises(CheckpointError, match=r"(epochs 2|architecture 'convnet'), this run asks for"):
            train(other, interrupted, alone, resume=True)


def test_a_checkpoint_of_another_architecture_is_refused(interrupted: Path, alone: World) -> None:
    """Also where its recipe says otherwise."""
    found = Checkpoint.load(interrupted / "checkpoint.pt")
    replace(found, model={"weight": found.model["6.mean"]}).save(interrupted / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="of another architecture"):
        train(RECIPE, interrupted, alone, resume=True)


def test_a_damaged_checkpoint_is_refused(interrupted: Path, alone: World) -> None:
    (interrupted / "checkpoint.pt").write_bytes((interrupted / "checkpoint.pt").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="may be damaged"):
        train(RECIPE, interrupted, alone, resume=True)


def test_resume_without_a_checkpoint_begins(tmp_path: Path, alone: World) -> None:
    assert train(RECIPE, tmp_path, alone, resume=True).finished


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of an estimator that nobody killed."""
    folders = tmp_path_factory.mktemp("runs")

    @cache
    def folder(estimator: str) -> Path:
        result = CliRunner().invoke(app, [*COMMAND, "--estimator", estimator, "--out", str(folders / estimator)])
        assert result.exit_code == 0, result.output
        return folders / estimator

    return folder


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "estimator"),
    [(["-c", EPOCHLY], "reparam"), (["-c", EAGER], "ivon")],
    ids=["checkpoint an epoch", "each step"],
)
def test_a_run_killed_at_a_random_moment_and_resumed_equals_one_that_was_not(
    program: list[str],
    estimator: str,
    uninterrupted: Callable[[str], Path],
    tmp_path: Path,
    environment: dict[str, str],
) -> None:
    run = Run(tmp_path / "run")
    arguments = [*COMMAND, "--estimator", estimator, "--out", str(run.folder)]
    after, wait = random.randrange(1, EPOCHS - 4), random.uniform(0, 0.2)
    victim = subprocess.Popen(
        [sys.executable, *program, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for_lines(run.folder / "log.jsonl", after, victim)
        time.sleep(wait)
    finally:
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
    killed = f"killed {wait:.3f} s after epoch {after}"
    assert victim.returncode == -signal.SIGKILL, killed
    assert not run.finished, killed

    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1
    assert "holds an interrupted run: pass --resume" in refused.stderr
    resumed = CliRunner().invoke(app, [*arguments, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert posterior_bytes(run.folder) == posterior_bytes(uninterrupted(estimator)), killed
    assert run.quality() == Run(uninterrupted(estimator)).quality()


def _wait_for_lines(log: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Return once the checkpoint that follows the log's line `count` may be on its way."""
    deadline = time.monotonic() + HANG_S
    while not log.exists() or len(log.read_text().splitlines()) <= count:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run did not begin"
        time.sleep(0.005)
