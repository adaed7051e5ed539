"""Mixtures of runs: which can be mixed, which levels hold which members, and what is published of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.store import Store
from pruning.errors import LevelError, MixtureError
from pruning.fine_tuning import FineTuning
from pruning.level import Level
from pruning.mixture import load_runs, parse_mixture_levels, prune_members
from pruning.postprocess import PrunedLevel
from pruning.pruner import PruningConfig
from pruning.publishing import default_level, publish
from pruning.trained_run import TrainedRun
from service.inference.artifact import read_artifact
from training.bayesian.posterior import GaussianWeight, Posterior

CONFIG = PruningConfig(tuning=FineTuning(epochs=0))


def other(run: TrainedRun, seed: int) -> TrainedRun:
    """A run whose posterior has its means negated and shrunk: a member of other scores."""
    weights = {name: GaussianWeight(-w.mean.flip(0) * 0.9, w.scale) for name, w in run.posterior.weights.items()}
    recipe = replace(run.recipe, seed=seed, split_seed=run.recipe.data_seed)
    return replace(run, recipe=recipe, posterior=Posterior(weights, run.posterior.rest))


def names(text: str, members: int) -> list[tuple[str, int]]:
    return [(each.name, each.members) for each in parse_mixture_levels(text, members)]


def test_levels_hold_all_members_or_the_first() -> None:
    assert names("x4,p80", 1) == [("dense", 1), ("p80", 1), ("x4", 1)]
    assert names("x4,x4-m1,dense-m1", 4) == [("dense", 1), ("x4", 1), ("x4-m4", 4)]
    assert names("x4-m4,x4", 4) == [("dense", 1), ("x4-m4", 4)]
    with pytest.raises(LevelError, match="'x4-m5' is a level of 5 members: expected at most 4"):
        parse_mixture_levels("x4-m5", 4)
    with pytest.raises(LevelError, match="'x1' is not a level"):
        parse_mixture_levels("x1-m2", 4)


def test_each_member_is_pruned_by_itself_and_once(run: TrainedRun) -> None:
    """To what it is pruned to alone, whatever levels share it."""
    runs, config = [run, other(run, 1)], replace(CONFIG, granularity="weight")
    found = {each.name: own for each, own in prune_members(runs, config, parse_mixture_levels("p80,p80-m1", 2))}
    assert {name: len(posteriors) for name, posteriors in found.items()} == {"dense": 1, "p80": 1, "p80-m2": 2}
    assert found["p80"][0] is found["p80-m2"][0]
    alone = {each.name: own for each, own in prune_members(runs[1:], config, parse_mixture_levels("p80", 1))}["p80"]
    for name, weight in alone[0].weights.items():
        assert weight.mean.equal(found["p80-m2"][1].weights[name].mean)
        assert not weight.mean.equal(found["p80-m2"][0].weights[name].mean)


def test_a_mixture_is_published_as_one_level(run: TrainedRun, tmp_path: Path) -> None:
    """Its file has all members, its manifest their number, mean cost, and what they differ by."""
    runs = [run, other(run, 1), other(run, 2)]
    levels = [
        PrunedLevel.build(runs, each.level, posteriors, CONFIG, 4)
        for each, posteriors in prune_members(runs, CONFIG, parse_mixture_levels("dense-m1,x4", 3))
    ]
    store = Store.create(tmp_path / "store")
    manifest = publish(store, "digits", runs, levels)
    dense, mixture = manifest.levels
    assert (dense.name, dense.members, dense.monte_carlo.draws) == ("dense", 1, 4)
    assert (mixture.name, mixture.members, mixture.monte_carlo.draws) == ("x4-m3", 3, 6)
    artifact = read_artifact(store.read_level(manifest, "x4-m3"), mixture.roundings)
    assert len(artifact.members) == 3
    costs = [network.multiply_adds for network in levels[1].members]
    assert mixture.multiply_adds == sum(costs) // 3 <= run.multiply_adds // 4
    assert mixture.parameters == sum(network.parameters for network in levels[1].members)
    seeds = [{"seed": run.recipe.seed}, {"seed": 1, "split_seed": 0}, {"seed": 2, "split_seed": 0}]
    assert manifest.training.hyperparameters["members"] == seeds
    assert {name.split(".")[0] for name in mixture.shared} == {"member0", "member1", "member2"}


def test_runs_of_other_data_cannot_be_mixed(digits_run: Path, tmp_path: Path) -> None:
    """Nor those of another split, since one would have trained on images that calibrate the other."""
    assert len(load_runs([digits_run, digits_run])) == 2
    for key, value, reason in (
        ("split_seed", 7, "seed of the split, 0 and 7"),
        ("limit", 900, "their limit, None and 900"),
    ):
        folder = tmp_path / key
        shutil.copytree(digits_run, folder)
        facts = json.loads((folder / "recipe.json").read_bytes())
        facts["recipe"][key] = value
        (folder / "recipe.json").write_text(json.dumps(facts))
        with pytest.raises(MixtureError, match=reason):
            load_runs([digits_run, folder])
    with pytest.raises(MixtureError, match="at most 16 members, got 17 runs"):
        load_runs([digits_run] * 17)


def test_the_level_of_one_member_is_that_of_one_run(run: TrainedRun) -> None:
    """Bit for bit the same figures as before there were mixtures of them."""
    level = Level.parse("x4")
    ((_, alone),) = [
        pair for pair in prune_members([run], CONFIG, parse_mixture_levels("x4", 1)) if pair[0].level == level
    ]
    one = PrunedLevel.build([run], level, alone, CONFIG, 4)
    two = PrunedLevel.build([run, other(run, 1)], level, alone, CONFIG, 4)
    assert one.evaluation == two.evaluation
    assert (one.name, two.name) == ("x4", "x4")


def test_the_default_level_is_the_cheapest_mixture_that_is_accurate_enough(run: TrainedRun) -> None:
    """A cheaper level of one member is none, unless no mixture is within a point of the dense level."""
    config = replace(CONFIG, granularity="weight")
    runs = [run, run]
    levels = [
        PrunedLevel.build(runs, each.level, posteriors, config, 2)
        for each, posteriors in prune_members(runs, config, parse_mixture_levels("p10-m1,p20,p30", 2))
    ]
    accuracies = {"dense": 0.95, "p10": 0.95, "p20-m2": 0.95, "p30-m2": 0.945}

    def default(**changes: float) -> str:
        own = accuracies | {name.replace("_", "-"): accuracy for name, accuracy in changes.items()}
        return default_level(
            [replace(e, evaluation=replace(e.evaluation, calibration_accuracy=own[e.name])) for e in levels]
        )

    assert default() == "p30-m2"
    assert default(p30_m2=0.93) == "p20-m2"
    assert default(p30_m2=0.93, p20_m2=0.93) == "p10"
