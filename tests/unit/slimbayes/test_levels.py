"""`sb.prune` and `sb.publish` are `slimbayes prune`: the same levels, of the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import slimbayes as sb
from model_store.errors import InvalidNameError, OtherClassesError
from model_store.store import Store
from pruning.cli.prune import app as prune_app
from pruning.errors import LevelError, MixtureError
from slimbayes.levels import PrunedLevels


def small(seed: int = 0, **settings: Any) -> sb.TrainedRun:
    """A posterior of a small network on digits, after one epoch."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))
    return sb.fit(network, "digits", epochs=1, limit=1_000, seed=seed, **settings)


@pytest.fixture(scope="module")
def posterior() -> sb.TrainedRun:
    return small()


@pytest.fixture(scope="module")
def levels(posterior: sb.TrainedRun) -> PrunedLevels:
    return sb.prune(posterior, ["x2", "p30"], epochs=1, draws=4)


def test_levels_are_those_of_the_command_line(digits_run: Path, tmp_path: Path) -> None:
    """And so are their files, but for the names of model, version and level in them."""
    levels = sb.prune(sb.TrainedRun.load(sb.Run(digits_run)), ["p50"], granularity="weight", epochs=0, draws=2)
    arguments = ["--levels", "p50", "--granularity", "weight", "--epochs", "0", "--draws", "2", "--model", "mine"]
    result = CliRunner().invoke(prune_app, [str(digits_run), *arguments, "--store", str(tmp_path / "commanded")])
    assert result.exit_code == 0, result.output
    opened = Store.open(tmp_path / "commanded")
    expected = opened.manifest("mine", opened.resolve("mine"))
    found = sb.publish(levels, tmp_path / "store", model="mine")
    assert found.training == expected.training
    assert found.version[-6:] == expected.version[-6:]  # digest of the graphs
    for ours, theirs in zip(found.levels, expected.levels, strict=True):
        assert ours.model_copy(update={"sha256": ""}) == theirs.model_copy(update={"sha256": ""})


def test_an_alias_points_at_what_was_published(levels: PrunedLevels, tmp_path: Path) -> None:
    found = sb.publish(levels, tmp_path / "store", model="mine", alias="production")
    assert Store.open(tmp_path / "store").aliases("mine") == {"production": found.version}


def test_other_classes_are_published_only_when_asked_for(levels: PrunedLevels, tmp_path: Path) -> None:
    letters = replace(levels.runs[0], dataset=replace(levels.runs[0].dataset, classes=tuple("abcdefghij")))
    renamed = replace(levels, runs=(letters,))
    first = sb.publish(levels, tmp_path / "store", model="mine")
    with pytest.raises(OtherClassesError, match=r"with a, b, .*new_classes=True"):
        sb.publish(renamed, tmp_path / "store", model="mine")
    assert Store.open(tmp_path / "store").versions("mine") == [first.version]
    assert sb.publish(renamed, tmp_path / "store", model="mine", new_classes=True).classes == letters.dataset.classes


def test_levels_are_a_sequence(levels: PrunedLevels) -> None:
    assert [each.name for each in levels] == ["dense", "p30", "x2"]
    assert (levels[0].name, [each.name for each in levels[1:]], len(levels)) == ("dense", ["p30", "x2"], 3)
    assert repr(levels).count("accuracy") == 3


def test_names_are_checked_before_anything_is_written(levels: PrunedLevels, tmp_path: Path) -> None:
    with pytest.raises(InvalidNameError):
        sb.publish(levels, tmp_path / "store", model="Not A Name")
    with pytest.raises(InvalidNameError):
        sb.publish(levels, tmp_path / "store", model="mine", alias="Not An Alias")
    assert not (tmp_path / "store").exists()


def test_members_are_of_one_split(posterior: sb.TrainedRun) -> None:
    with pytest.raises(MixtureError, match="posterior 1 is of other data"):
        sb.prune([posterior, small(seed=1)], ["p50"])
    with pytest.raises(MixtureError, match="nothing to prune"):
        sb.prune([], ["p50"])
    members = sb.prune([posterior, small(seed=1, split_seed=0)], "p30", epochs=0, draws=4)
    assert [each.name for each in members] == ["dense", "p30-m2"]


def test_levels_that_are_none(posterior: sb.TrainedRun) -> None:
    with pytest.raises(LevelError, match="'q80'"):
        sb.prune(posterior, ["q80"])
    with pytest.raises(LevelError, match="eight bits are asked for p80"):
        sb.prune(posterior, ["p50"], eight_bits=["p80"])
