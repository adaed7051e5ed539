"""Fine-tuning between rounds of pruning: a level is met after it, in every schedule."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pruning.cost.budget import Budget
from pruning.errors import SettingsError
from pruning.fine_tuning import SCHEDULES, FineTuner, FineTuning, LevelTuning
from pruning.granularity.mask import weights_left
from pruning.level import DENSE, Level, parse_levels
from pruning.pruner import Pruner, PruningConfig
from pruning.study.scratch import fresh_posterior
from pruning.trained_run import TrainedRun
from training.bayesian.eligibility import random_layers
from training.bayesian.posterior import Posterior
from training.recipe import Recipe


def left(run: TrainedRun, posterior: Posterior) -> float:
    return weights_left(posterior) / run.weights


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_a_level_is_met_after_fine_tuning(run: TrainedRun, granularity: str, schedule: str) -> None:
    """Zeros stay zeros while training goes on, and what is left has moved and has scales."""
    config = PruningConfig("snr", granularity, tuning=FineTuning(4, schedule, distillation=0.5))
    posterior = Pruner(run, config).level(Level.parse("p80"), run.posterior)
    assert left(run, posterior) == pytest.approx(0.2, abs=1e-3 if granularity == "weight" else 0.08)
    for weight in posterior.weights.values():
        assert ((weight.mean == 0) == (weight.scale == 0)).all()


def tuning(run: TrainedRun, recipe: Recipe) -> tuple[LevelTuning, Posterior]:
    """A tuning after one of two epochs, and its posterior."""
    begun = FineTuner(run.dataset, recipe, FineTuning(2)).begin(run.module(run.posterior), run.posterior, "test")
    return begun, begun.train(1)


RECIPES = {
    "reparam": {},
    "ivon": {"estimator": "ivon", "learning_rate": 0.1, "beta": 0.1, "prior_scale": 3.0, "warmup_epochs": 0.0},
    "none": {"estimator": "none", "learning_rate": 0.05, "warmup_epochs": 0.0},
}
RECIPES["plain start"] = RECIPES["ivon"] | {"plain_share": 0.5, "plain_learning_rate": 0.05}


@pytest.mark.parametrize("estimator", RECIPES)
def test_removing_nothing_changes_nothing(run: TrainedRun, estimator: str) -> None:
    """The optimiser goes on as if it had not been moved to a new network."""
    recipe = run.recipe.changed(**RECIPES[estimator])
    (left, _), (moved, posterior) = tuning(run, recipe), tuning(run, recipe)
    moved.remove(run.module(posterior), posterior, lambda name, tensor: tensor.clone())
    one, other = left.train(2), moved.train(2)
    for name, weight in one.weights.items():
        assert torch.equal(weight.mean, other.weights[name].mean)
        assert torch.equal(weight.scale, other.weights[name].scale)


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("estimator", RECIPES)
def test_the_optimisers_state_is_cut_as_its_weights_are(run: TrainedRun, estimator: str, granularity: str) -> None:
    """What is left of it is as it was; a momentum of removed weights would bring them back."""
    begun, posterior = tuning(run, run.recipe.changed(**RECIPES[estimator]))
    pruner = Pruner(run, PruningConfig("magnitude", granularity))
    removal = pruner._choose(posterior, Budget("p", run.weights / 3), 0)
    assert removal is not None
    earlier = begun.state.approximation
    left = removal.apply(posterior)
    begun.remove(run.module(left), left, removal.cut)
    before = {name: earlier.optimizer.state[each] for name, each in earlier.module.named_parameters()}
    after = begun.state.approximation
    seen = 0
    for name, parameter in after.module.named_parameters():
        plain = name.replace(".mean", ".weight").replace(".log_scale", ".weight")
        for key, value in after.optimizer.state[parameter].items():
            if isinstance(value, torch.Tensor) and value.dim():
                assert value.shape == parameter.shape
                assert torch.equal(value, removal.cut(plain, before[name][key]))
                seen += 1
    assert seen > 8
    final = begun.train(2)
    for name, weight in final.weights.items():
        assert ((weight.mean != 0) <= (left.weights[name].mean != 0)).all()


def test_layers_without_scales_have_none_after_fine_tuning(run: TrainedRun) -> None:
    """Neither under masks nor in narrower layers, and the dense posterior keeps all of its own."""
    for granularity in ("weight", "channel"):
        config = PruningConfig("magnitude", granularity, tuning=FineTuning(4), random="last:2")
        made = dict(Pruner(run, config).levels(parse_levels("p50")))
        assert not any(weight.deterministic for weight in made[DENSE].weights.values())
        left = made[Level.parse("p50")]
        names = [f"{path}.weight" for path in random_layers(run.architecture)]
        assert [left.weights[name].deterministic for name in names] == [True, True, False, False]
        assert (left.weights[names[0]].mean != 0).any()


def test_means_are_tuned_alone_before_scales(run: TrainedRun) -> None:
    """Where the run started from a plain network, or from trained weights; pruned weights stay pruned."""
    started = run.recipe.changed(**RECIPES["ivon"], init_from="runs/plain", plain_learning_rate=0.05)
    for recipe in (run.recipe.changed(**RECIPES["plain start"]), started):
        config = PruningConfig("magnitude", "weight", tuning=FineTuning(0))
        pruned = Pruner(run, config).level(Level.parse("p80"), run.posterior)
        begun = FineTuner(run.dataset, recipe, FineTuning(10)).begin(run.module(pruned), pruned, "test")
        plain, whole = begun.train(2), begun.train(10)
        for name, weight in pruned.weights.items():
            assert torch.equal(plain.weights[name].scale, weight.scale)
            assert not torch.equal(plain.weights[name].mean, weight.mean)
            assert not torch.equal(whole.weights[name].scale, weight.scale)
            for found in (plain, whole):
                assert ((found.weights[name].scale > 0) == (weight.scale > 0)).all()


@pytest.mark.parametrize(("epochs", "rounds"), [(0, 1), (1, 1), (2, 1), (4, 2), (8, 4), (30, 4)])
def test_rounds(epochs: int, rounds: int) -> None:
    """At most four, and one of one shot."""
    assert FineTuning(epochs).rounds == rounds
    assert FineTuning(epochs, "one-shot").rounds == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -3}, "epochs of fine-tuning must be at least 0, got -3"),
        ({"rate": -1.0}, "the rate of fine-tuning must be at least 0, got -1.0"),
        ({"rate": float("nan")}, "must be at least 0, got nan"),
        ({"distillation": 50.0}, "the weight of distillation must be from 0 to 1, got 50.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        FineTuning(**settings)


def test_a_gradual_level_starts_from_the_one_before(run: TrainedRun) -> None:
    """What is gone at p50 is gone at p80, though the scores have moved in between."""
    made = dict(Pruner(run, PruningConfig("snr", "weight", tuning=FineTuning(1))).levels(parse_levels("p50,p80")))
    assert made[DENSE] is run.posterior
    half, fifth = made[Level.parse("p50")], made[Level.parse("p80")]
    for name, weight in half.weights.items():
        assert ((fifth.weights[name].mean != 0) <= (weight.mean != 0)).all()


def test_a_network_from_scratch_starts_as_the_run_did(run: TrainedRun) -> None:
    """From a plain network of the same shape, zeros and random layers, where the run's posterior had such a start."""
    config = PruningConfig("magnitude", "weight", tuning=FineTuning(0), random="last:2")
    fresh = fresh_posterior(run, Pruner(run, config).level(Level.parse("p80"), run.posterior))
    found = {}
    for share in (0.0, 0.5):
        recipe = run.recipe.changed(plain_share=share, plain_learning_rate=0.05, warmup_epochs=0.0)
        tuner = FineTuner(run.dataset, recipe, FineTuning(4))
        found[share] = tuner.from_scratch(run.module(fresh), fresh, 4, "scratch")
    for name, weight in fresh.weights.items():
        one, other = (found[share].weights[name] for share in (0.0, 0.5))
        for trained in (one, other):
            assert ((trained.mean != 0) == (weight.mean != 0)).all()
            assert ((trained.scale > 0) == (weight.scale > 0)).all()
        assert not torch.equal(one.mean, other.mean)
