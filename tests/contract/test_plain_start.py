"""A run whose posterior starts from a plain network: in one command what two commands make, interrupted or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from training.cli.train import app
from training.defaults import default_recipe
from training.distributed.world import World
from training.errors import RecipeError, RunError
from training.recipe import Recipe
from training.trainer.loop import Step
from training.trainer.members import train_members
from training.trainer.recorder import Recorder
from training.trainer.run_dir import Run
from training.trainer.train import train

RECIPE = Recipe(
    estimator="ivon",
    epochs=5,
    limit=60,
    learning_rate=0.1,
    beta=0.1,
    prior_scale=1.0,
    warmup_epochs=0.0,
    plain_share=0.6,
    plain_learning_rate=0.05,
    small_share=0.4,
    averaged_epochs=2,
)
PLAIN = RECIPE.changed(estimator="none", epochs=3, learning_rate=0.05, plain_share=0.0)


def weights(run: Run) -> bytes:
    return (run.folder / "posterior.safetensors").read_bytes()


class _Interruption(Exception):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(RECIPE, tmp_path_factory.mktemp("whole"), World(0, 1, torch.device("cpu")))


@pytest.mark.parametrize(
    "changes", [{}, {"estimator": "reparam", "learning_rate": 0.005, "warmup_epochs": 1.0, "initial_share": 0.05}]
)
def test_one_run_makes_what_two_make(tmp_path: Path, alone: World, changes: dict[str, Any]) -> None:
    """Bit for bit: the plain network's, and the posterior's that starts from it."""
    recipe = RECIPE.changed(**changes)
    run = train(recipe, tmp_path / "one", alone)
    plain = train(PLAIN.changed(beta=recipe.beta), tmp_path / "plain", alone)
    two = recipe.changed(epochs=2, plain_share=0.0, small_share=0.0, averaged_epochs=0, init_from=str(plain.folder))
    assert weights(run.plain) == weights(plain)
    assert weights(run) == weights(train(two, tmp_path / "two", alone))
    assert [line["epoch"] for line in run.lines("log.jsonl")] == [1, 2]
    assert run.recipe() == recipe


@pytest.mark.parametrize("epoch", [2, 3, 4])
def test_an_interruption_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Run, epoch: int
) -> None:
    """In the plain network's epochs, at their end, and in the posterior's: `--resume` knows all settings."""
    record, ends = Recorder.__call__, [0]

    def interrupt(self: Recorder, step: Step) -> None:
        record(self, step)
        ends[0] += step.epoch_ended
        if ends[0] == epoch:
            self.save()
            raise _Interruption

    run = Run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "__call__", interrupt)
        with pytest.raises(_Interruption):
            train(RECIPE, run.folder, World(0, 1, torch.device("cpu")))
    with pytest.raises(RunError, match="holds an interrupted run: pass --resume to continue"):
        train(RECIPE, run.folder, World(0, 1, torch.device("cpu")))
    finished = CliRunner().invoke(app, ["--resume", "--device", "cpu", "--out", str(run.folder)])
    assert finished.exit_code == 0, finished.output
    assert weights(run) == weights(whole)
    assert weights(run.plain) == weights(whole.plain)


def test_another_run_leaves_no_plain_network_of_the_one_before(tmp_path: Path, alone: World) -> None:
    """Overwritten with a plain start it is trained anew; without one it is gone."""
    first = train(RECIPE, tmp_path, alone)
    before = weights(first.plain)
    train(RECIPE.changed(seed=1), tmp_path, alone, overwrite=True)
    assert weights(first.plain) != before
    train(RECIPE.changed(epochs=1), tmp_path, alone, overwrite=True)
    assert not first.plain.folder.exists()


def test_members_have_plain_networks_of_their_own(tmp_path: Path, alone: World) -> None:
    recipe = RECIPE.changed(epochs=2, plain_share=0.5)
    first, second = train_members(2, recipe, tmp_path, alone)
    assert weights(first.plain) != weights(second.plain)


def test_what_has_a_start_of_its_own_has_no_other() -> None:
    ways: list[Callable[[], Recipe]] = [
        lambda: RECIPE.changed(init_from="runs/plain"),
        lambda: RECIPE.changed(pretrained=True),
        lambda: RECIPE.changed(estimator="none"),
    ]
    for way in ways:
        with pytest.raises(RecipeError, match="a posterior starts from a plain network that is trained first"):
            way()


def test_photographs_start_from_a_plain_network_by_default() -> None:
    """Not where they start from trained weights, or where fresh ones are asked for."""
    cpu = torch.device("cpu")
    usual = default_recipe("cifar10", cpu)
    assert (usual.plain_epochs, usual.posterior_epochs, usual.learning_rate) == (40, 10, 0.1)
    assert default_recipe("cifar10", cpu, epochs=1).plain_epochs == 0
    trained = default_recipe("cifar10", cpu, init_from="runs/plain")
    assert (trained.plain_epochs, trained.epochs, trained.learning_rate) == (0, 10, 0.1)
    assert default_recipe("cifar10", cpu, plain_share=0.0).learning_rate == 1.0
    assert default_recipe("folder", cpu, estimator="flipout").plain_share == 0
    assert default_recipe("folder", cpu, pretrained=True, architecture="efficientnet_lite0").plain_share == 0
