"""The loop: what it reports, that it is a function of the recipe, and that it stops when the loss is lost."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.bayesian.estimators import DRAWS, ESTIMATORS, create_approximation, reparam
from training.bayesian.layers import BayesianLayer, Draw
from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Dataset
from training.distributed.world import World
from training.errors import DivergedError, RecipeError
from training.recipe import PRECISIONS, Recipe
from training.trainer import recorder
from training.trainer.checkpoint import Checkpoint
from training.trainer.initialization import initial_network
from training.trainer.loop import Step, TrainState, fit
from training.trainer.run_dir import Run
from training.trainer.train import train

RECIPE = Recipe(epochs=3, batch_size=50, estimator="reparam", limit=200, warmup_epochs=1.0)
IVON = RECIPE.changed(
    estimator="ivon", learning_rate=2.0, prior_scale=0.3, initial_scale=0.01, beta=1.0, warmup_epochs=0.0
)
PLAIN = RECIPE.changed(estimator="none", warmup_epochs=0.0)


def begun(dataset: Dataset, recipe: Recipe) -> TrainState:
    torch.manual_seed(0)
    return TrainState(create_approximation(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), recipe, len(dataset.train)))


def trained(dataset: Dataset, recipe: Recipe, world: World) -> tuple[Posterior, list[Step]]:
    state, steps = begun(dataset, recipe), list[Step]()
    fit(state, dataset, recipe, world, after_step=steps.append)
    return state.approximation.posterior(), steps


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


@pytest.mark.parametrize("name", ESTIMATORS)
def test_training_learns(digits: Dataset, alone: World, name: str) -> None:
    others = {"ivon": IVON, "none": PLAIN.changed(learning_rate=0.05)}
    recipe = others.get(name, RECIPE.changed(estimator=name))
    _, steps = trained(digits, replace(recipe, epochs=10), alone)
    assert steps[-1].data < 0.5 * steps[0].data
    assert steps[-1].accuracy > 0.8


def test_training_is_a_function_of_the_recipe(digits: Dataset, alone: World) -> None:
    one, again, other = (trained(digits, replace(RECIPE, seed=s), alone)[0] for s in (1, 1, 2))
    assert torch.equal(one.weights["1.weight"].mean, again.weights["1.weight"].mean)
    assert torch.equal(one.weights["1.weight"].scale, again.weights["1.weight"].scale)
    assert not torch.equal(one.weights["1.weight"].mean, other.weights["1.weight"].mean)


@pytest.mark.parametrize("recipe", [RECIPE, IVON, PLAIN], ids=lambda recipe: recipe.estimator)
def test_a_pruned_weight_stays_at_zero(digits: Dataset, alone: World, recipe: Recipe) -> None:
    state = begun(digits, recipe)
    whole = state.approximation.posterior()
    kept = (torch.arange(64) % 2 == 1).float()
    weight = whole.weights["1.weight"]
    state.approximation.restore(
        Posterior({"1.weight": GaussianWeight(weight.mean * kept, weight.scale * kept)}, whole.rest)
    )
    fit(state, digits, recipe, alone)
    found = state.approximation.posterior().weights["1.weight"]
    assert (found.mean[:, ::2] == 0).all()
    assert (found.scale[:, ::2] == 0).all()
    assert (found.mean[:, 1::2] != weight.mean[:, 1::2]).float().mean() > 0.9
    assert ((found.scale[:, 1::2] > 0) == (recipe.estimator != "none")).all()


def two_layers(dataset: Dataset, recipe: Recipe) -> TrainState:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    return TrainState(create_approximation(plain, recipe, len(dataset.train)))


@pytest.mark.parametrize("recipe", [RECIPE, IVON], ids=lambda recipe: recipe.estimator)
def test_layers_that_are_not_random_learn_without_noise(digits: Dataset, alone: World, recipe: Recipe) -> None:
    """They have no scale from beginning to end, and move; the last one is random."""
    state = two_layers(digits, recipe.changed(random="last:1", epochs=5))
    before = state.approximation.posterior().weights
    steps = list[Step]()
    fit(state, digits, recipe.changed(random="last:1", epochs=5), alone, after_step=steps.append)
    after = state.approximation.posterior().weights
    for weights in (before, after):
        assert [weight.deterministic for weight in weights.values()] == [True, False]
    assert (after["1.weight"].mean != before["1.weight"].mean).float().mean() > 0.5
    assert steps[-1].data < 0.8 * steps[0].data


@pytest.mark.parametrize(("recipe", "narrow"), [(RECIPE, 0.03), (IVON, 0.1)], ids=["reparam", "ivon"])
def test_weight_decay_is_that_of_the_prior(digits: Dataset, alone: World, recipe: Recipe, narrow: float) -> None:
    """A narrow prior leaves smaller weights in a deterministic layer than a wide one."""
    norms = []
    for prior_scale in (narrow, 1.0):
        of_prior = recipe.changed(random="last:1", prior_scale=prior_scale, beta=1.0, warmup_epochs=0.0, epochs=6)
        state = two_layers(digits, of_prior)
        fit(state, digits, of_prior, alone)
        norms.append(float(state.approximation.posterior().weights["1.weight"].mean.norm()))
    assert norms[0] < 0.8 * norms[1]


@pytest.mark.parametrize("recipe", [RECIPE, IVON], ids=lambda recipe: recipe.estimator)
def test_layers_can_be_fixed_while_training_goes_on(digits: Dataset, alone: World, recipe: Recipe) -> None:
    """At their means; a checkpoint of the state has them, and what is pruned of them stays pruned."""
    state = two_layers(digits, recipe)
    fit(state, digits, recipe, alone, until=1)
    whole = state.approximation.posterior()
    state.approximation.fix(["1.weight"])
    fixed = state.approximation.posterior()
    assert torch.equal(fixed.weights["1.weight"].mean, whole.weights["1.weight"].mean)
    assert fixed.weights["1.weight"].deterministic
    kept = (torch.arange(64) % 2).float()
    half = GaussianWeight(fixed.weights["1.weight"].mean * kept, torch.zeros(20, 64))
    state.approximation.restore(replace(fixed, weights={**fixed.weights, "1.weight": half}))
    fit(state, digits, recipe, alone)
    left = state.approximation.posterior()
    assert (left.weights["1.weight"].mean[:, ::2] == 0).all()
    assert (left.weights["1.weight"].scale == 0).all()
    again = two_layers(digits, recipe)
    again.approximation.module.load_state_dict(state.approximation.module.state_dict(), strict=False)
    again.approximation.optimizer.load_state_dict(state.approximation.optimizer.state_dict())
    assert again.approximation.posterior().weights["1.weight"].deterministic


def test_the_rate_keeps_its_peak_before_its_one_cosine(digits: Dataset, alone: World) -> None:
    recipe, rates = RECIPE.changed(epochs=8, rise=0.1), list[float]()
    state = begun(digits, recipe)

    def note(step: Step) -> None:
        rates.append(state.approximation.optimizer.param_groups[0]["lr"] / recipe.learning_rate)

    fit(state, digits, recipe, alone, hold_epochs=4, after_step=note)
    an_epoch = len(rates) // 8
    assert rates[an_epoch : 4 * an_epoch] == [1.0] * (3 * an_epoch)
    falling = rates[4 * an_epoch :]
    assert falling == sorted(falling, reverse=True)
    assert falling[len(falling) // 2] == pytest.approx(0.5, abs=0.05)
    assert falling[-1] < 0.05


def test_augmentation_changes_what_is_seen(digits: Dataset, alone: World) -> None:
    """Another seen batch ends elsewhere."""
    plain, moved = (trained(digits, replace(RECIPE, augmentation=a), alone)[0] for a in ("none", "crop-flip"))
    assert not torch.equal(plain.weights["1.weight"].mean, moved.weights["1.weight"].mean)


@pytest.mark.parametrize("recipe", [RECIPE.changed(initial_scale=1e-9), PLAIN])
def test_pieces_of_a_batch_make_the_step_of_the_whole(digits: Dataset, alone: World, recipe: Recipe) -> None:
    """Uneven ones too: 50 images in 3 pieces, and the last batch of 29."""
    whole, in_pieces = (trained(digits, replace(recipe, accumulation=n), alone) for n in (1, 3))
    torch.testing.assert_close(whole[0].weights["1.weight"].mean, in_pieces[0].weights["1.weight"].mean)
    for one, other in zip(whole[1], in_pieces[1], strict=True):
        assert (one.loss, one.accuracy) == (pytest.approx(other.loss, rel=1e-4), pytest.approx(other.accuracy))


@pytest.mark.parametrize("recipe", [RECIPE, IVON], ids=lambda recipe: recipe.estimator)
def test_several_draws_in_a_step_are_averaged(digits: Dataset, alone: World, recipe: Recipe) -> None:
    """Each counts the divergence by its part, and noisier weights give different gradients with more draws."""
    one, four = (trained(digits, replace(recipe, draws=n, initial_scale=0.05), alone) for n in (1, 4))
    assert not torch.equal(one[0].weights["1.weight"].mean, four[0].weights["1.weight"].mean)
    assert four[1][0].kl == pytest.approx(one[1][0].kl, rel=1e-5)
    assert four[1][-1].data < four[1][0].data


def test_bfloat16_learns_as_float32_does(digits: Dataset, alone: World) -> None:
    exact, rounded = (trained(digits, replace(RECIPE, epochs=10, precision=p), alone)[1] for p in PRECISIONS)
    assert exact[-1].data != rounded[-1].data
    assert exact[-1].data == pytest.approx(rounded[-1].data, rel=0.05)


def test_a_loss_that_is_not_a_number_stops_before_it_does_harm(
    digits: Dataset, alone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DRAWS, "reparam", failing_from(5))
    state, steps = begun(digits, RECIPE), list[Step]()
    with pytest.raises(DivergedError, match=r"not finite at step 6, after \d+ images: lower the learning rate"):
        fit(state, digits, RECIPE, alone, after_step=steps.append)
    assert len(steps) == 5
    assert state.images == steps[-1].images
    assert all(parameter.isfinite().all() for parameter in state.approximation.module.parameters())


def test_the_last_good_checkpoint_survives_a_divergence(
    tmp_path: Path, alone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the run that goes on from it is the run that never diverged."""
    train(RECIPE, tmp_path / "whole", alone)
    monkeypatch.setattr(recorder, "EPOCH_CHECKPOINT_S", -1.0)
    # Four steps an epoch and four layers: the second epoch's first call is number 16.
    monkeypatch.setitem(DRAWS, "reparam", failing_from(16 + 7))
    with pytest.raises(DivergedError):
        train(RECIPE, tmp_path / "run", alone)
    monkeypatch.undo()
    run = Run(tmp_path / "run")
    found = Checkpoint.load(run.checkpoint)
    lines = (run.folder / "log.jsonl").read_text().splitlines()
    assert len(lines) == 1
    assert found.images == 180
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


def test_the_first_epochs_see_smaller_images(digits: Dataset, alone: World) -> None:
    """Three quarters of the side, as many as asked for, and the batch statistics of what they see."""
    recipe = PLAIN.changed(epochs=4, small_share=0.5)
    approximation = create_approximation(initial_network(recipe, digits), recipe, len(digits.train))
    sides: list[int] = []
    approximation.module.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    state = TrainState(approximation)
    ends: list[int] = []
    fit(state, digits, recipe, alone, after_step=lambda step: ends.append(len(sides)) if step.epoch_ended else None)
    assert set(sides[: ends[1]]) == {6}
    assert set(sides[ends[1] :]) == {8}


def test_a_network_that_takes_no_smaller_images_is_refused(digits: Dataset) -> None:
    recipe = PLAIN.changed(small_share=0.5)
    own = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(RecipeError, match="Sequential cannot take images of 6x6 pixels, as small images are"):
        initial_network(recipe, digits, own)
