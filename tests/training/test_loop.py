"""The loop: what it reports, that it is a function of the recipe, and that it stops when the loss is lost."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.bayesianize import bayesianize, posterior_of
from training.checkpoint import Checkpoint
from training.data.images import Dataset
from training.distributed import World
from training.errors import DivergedError
from training.estimators import ESTIMATORS, flipout, reparam
from training.layers import BayesianLayer, Draw
from training.loop import Fit, Step, fit
from training.recipe import Recipe
from training.run import Run
from training.trainer import train

RECIPE = Recipe(epochs=3, batch_size=50, estimator="reparam", limit=200, warmup_epochs=1.0)


def trained(dataset: Dataset, recipe: Recipe, world: World, draw: Draw = reparam.draw) -> tuple[nn.Module, list[Step]]:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    module = bayesianize(plain, draw, prior_scale=recipe.prior_scale, initial_scale=recipe.initial_scale)
    steps: list[Step] = []
    fit(Fit.begin(module, recipe), dataset, recipe, world, after_step=steps.append)
    return module, steps


def failing_from(call: int) -> Draw:
    """An estimator whose outputs are not numbers any more from its given call on."""
    calls = count()

    def draw(layer: BayesianLayer, x: Tensor) -> Tensor:
        return reparam.draw(layer, x) * (float("nan") if next(calls) >= call else 1.0)

    return draw


def test_steps_count_images_and_epochs(digits: Dataset, alone: World) -> None:
    _, steps = trained(digits, RECIPE, alone)
    size = len(digits.train)
    assert [step.images for step in steps if step.epoch_ended] == [size, 2 * size, 3 * size]
    assert [step.epoch for step in steps] == [0] * 4 + [1] * 4 + [2] * 4


def test_the_reported_loss_is_the_objective(digits: Dataset, alone: World) -> None:
    _, steps = trained(digits, RECIPE, alone)
    starts = [0, *(step.images for step in steps[:-1])]
    for start, step in zip(starts, steps, strict=True):
        beta = RECIPE.beta_at(start / len(digits.train))
        assert step.loss == pytest.approx(step.data + beta * step.kl / len(digits.train), rel=1e-5)


@pytest.mark.parametrize("draw", [reparam.draw, flipout.draw])
def test_training_learns(digits: Dataset, alone: World, draw: Draw) -> None:
    _, steps = trained(digits, replace(RECIPE, epochs=10), alone, draw)
    assert steps[-1].data < 0.5 * steps[0].data
    assert steps[-1].accuracy > 0.8


def test_training_is_a_function_of_the_recipe(digits: Dataset, alone: World) -> None:
    one, again, other = (posterior_of(trained(digits, replace(RECIPE, seed=s), alone)[0]) for s in (1, 1, 2))
    assert torch.equal(one.weights["1.weight"].mean, again.weights["1.weight"].mean)
    assert torch.equal(one.weights["1.weight"].scale, again.weights["1.weight"].scale)
    assert not torch.equal(one.weights["1.weight"].mean, other.weights["1.weight"].mean)


def test_a_masked_weight_stays_at_zero(digits: Dataset, alone: World) -> None:
    torch.manual_seed(0)
    module = bayesianize(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), reparam.draw, prior_scale=1, initial_scale=0.1)
    module[1].mask[:, ::2] = 0
    fit(Fit.begin(module, RECIPE), digits, RECIPE, alone)
    weight = module[1].weight()
    assert (weight.mean[:, ::2] == 0).all()
    assert (weight.scale[:, ::2] == 0).all()
    assert (weight.scale[:, 1::2] > 0).all()


def test_a_mirrored_data_set_is_augmented(digits: Dataset, alone: World) -> None:
    """Digits are not, and another seen batch ends elsewhere."""
    plain, moved = (posterior_of(trained(replace(digits, mirrored=m), RECIPE, alone)[0]) for m in (False, True))
    assert not torch.equal(plain.weights["1.weight"].mean, moved.weights["1.weight"].mean)


def test_a_loss_that_is_not_a_number_stops_before_it_does_harm(digits: Dataset, alone: World) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    module = bayesianize(plain, failing_from(5), prior_scale=0.1, initial_scale=0.02)
    state, steps = Fit.begin(module, RECIPE), list[Step]()
    with pytest.raises(DivergedError, match=r"not finite after \d+ images: lower the learning rate"):
        fit(state, digits, RECIPE, alone, after_step=steps.append)
    assert len(steps) == 5
    assert state.images == steps[-1].images
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_the_last_good_checkpoint_survives_a_divergence(
    tmp_path: Path, alone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the run that goes on from it is the run that never diverged."""
    train(RECIPE, tmp_path / "whole", alone)
    # Four steps an epoch and four layers: the second epoch's first call is number 16.
    monkeypatch.setitem(ESTIMATORS, "reparam", failing_from(16 + 7))
    with pytest.raises(DivergedError):
        train(RECIPE, tmp_path / "run", alone)
    monkeypatch.undo()
    run = Run(tmp_path / "run")
    found = Checkpoint.load(run.checkpoint)
    lines = (run.folder / "log.jsonl").read_text().splitlines()
    assert len(lines) == 1
    assert found.images == 179
    assert all(tensor.isfinite().all() for tensor in found.model.values())
    assert not run.finished
    train(RECIPE, tmp_path / "run", alone, resume=True)
    posteriors = [(tmp_path / name / "posterior.safetensors").read_bytes() for name in ("whole", "run")]
    assert posteriors[0] == posteriors[1]


def test_a_network_that_predicts_nothing_is_no_finished_run(tmp_path: Path, alone: World) -> None:
    """The last step's harm shows in no later loss."""
    recipe = replace(RECIPE, epochs=1, limit=20, learning_rate=1e30)
    with pytest.raises(DivergedError, match="lower the learning rate"):
        train(recipe, tmp_path, alone)
    assert not Run(tmp_path).finished
