"""Runs that train the last layers on features of the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.bayesian.bayesianize import plain_parts
from training.data import load_dataset
from training.data.dataset import Dataset
from training.distributed.world import World
from training.errors import RecipeError
from training.evaluation.prediction import mean_logits
from training.recipe import Recipe
from training.trainer.initialization import fresh_network
from training.trainer.run_dir import Run
from training.trainer.train import train
from training.trainer.trained_part import TrainedPart

ALONE = World(0, 1, torch.device("cpu"))
RECIPE = Recipe(
    estimator="ivon", epochs=2, limit=60, prior_scale=0.5, initial_scale=0.1, beta=1.0, warmup_epochs=0.0, seed=3
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The plain network whose last layers go on training."""
    plain = replace(RECIPE, estimator="none", learning_rate=0.05)
    return train(plain, tmp_path_factory.mktemp("plain") / "run", ALONE)


def test_what_is_not_trained_stays_as_it_is(start: Run, digits: Dataset, tmp_path: Path) -> None:
    """Statistics of its normalisation too; its weights have no scales, and the trained ones have moved."""
    recipe = replace(RECIPE, trained="last:2", random="last:1", init_from=str(start.folder))
    run = train(recipe, tmp_path / "run", ALONE)
    before, posterior = start.posterior(), run.posterior()
    names = list(posterior.weights)
    assert names == list(plain_parts(fresh_network(recipe, digits))[0])
    assert [name for name, weight in posterior.weights.items() if not weight.deterministic] == names[-1:]
    moved = [name for name, tensor in posterior.mean().items() if not tensor.equal(before.mean()[name])]
    assert {names[-1], names[-2]} <= set(moved)
    assert not {name for name in moved if name.split(".")[0] < names[-2].split(".")[0]}


def test_logits_of_features_are_those_of_images(start: Run, tmp_path: Path) -> None:
    """What the run has measured is what the whole network predicts."""
    recipe = replace(RECIPE, trained="last:1", init_from=str(start.folder))
    digits = load_dataset("digits", None, seed=recipe.seed, limit=recipe.limit)
    run = train(recipe, tmp_path / "run", ALONE)
    plain = fresh_network(recipe, digits)
    logits_NK = mean_logits(plain, run.posterior(), digits.pixels, digits.test.pixels)
    measured = run.quality()["mean_network"]["accuracy"]
    assert float((logits_NK.argmax(1) == digits.test.labels).double().mean()) == pytest.approx(measured, abs=1e-9)


def test_a_run_that_trains_all_has_no_features(digits: Dataset) -> None:
    plain = fresh_network(RECIPE, digits)
    part = TrainedPart.of(plain, digits, RECIPE, quiet=True)
    assert (part.network, part.dataset) == (plain, digits)
    assert part.fresh() is not plain


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"trained": "last:1"}, "training last:1 alone needs weights for the others: --pretrained or --init-from"),
        ({"trained": "first:1"}, "trained layers must be all or last:N, got first:1"),
        (
            {"trained": "last:1", "random": "last:2", "pretrained": True},
            "random layers must be trained: expected at most last:1, got last:2",
        ),
    ],
)
def test_recipes_that_cannot_be_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        RECIPE.changed(**settings)
