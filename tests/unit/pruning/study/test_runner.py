"""A study: what it makes, that it goes on where it stopped, and what is published of it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from model_store.store import Store
from pruning.bprune import bprune
from pruning.cell import Cell, Cells
from pruning.choice import parse_cells
from pruning.cli import app as prune_app
from pruning.errors import LevelError
from pruning.level import DENSE, Level
from pruning.mask import Mask
from pruning.study_cli import app
from tests.support.same_draw import network_of
from training.posterior import Posterior

FLAGS = ["--epochs", "1", "--draws", "2", "--criteria", "snr,random", "--levels", "p50,p80,x2"]
CELLS = [
    *("dense", "snr-weight-p50", "snr-weight-p80", "random-weight-p50", "random-weight-p80"),
    *("snr-channel-p50", "snr-channel-p80", "snr-channel-x2"),
    *("random-channel-p50", "random-channel-p80", "random-channel-x2"),
    *("bprune-weight-p50", "bprune-weight-p80"),
]
# Measured, and so another each time.
TIMED = "milliseconds"


def study(run: Path, out: Path, *flags: str) -> Result:
    return CliRunner().invoke(app, [str(run), "--out", str(out), *(flags or FLAGS)])


def table(folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads((folder / "table.json").read_bytes())["rows"]
    return rows


@pytest.fixture(scope="module")
def studied(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole study of the digits."""
    folder = tmp_path_factory.mktemp("study")
    result = study(digits_run, folder)
    assert result.exit_code == 0, result.output
    return folder


def test_every_cell_has_a_row_in_each_form(studied: Path) -> None:
    rows = table(studied)
    names = ["dense" if r["level"] == "dense" else f"{r['criterion']}-{r['granularity']}-{r['level']}" for r in rows]
    assert names == CELLS
    with (studied / "table.csv").open() as file:
        assert [row["level"] for row in csv.DictReader(file)] == [row["level"] for row in rows]
    assert len((studied / "table.md").read_text().splitlines()) == len(CELLS) + 2
    pictures = {"accuracy.png", "nll.png", "ece.png"} | {
        f"ood_auroc_{name}.png" for name in ("noise", "blank", "crops")
    }
    assert {path.name for path in studied.glob("*.png")} == pictures


def test_rows_say_what_was_removed(studied: Path) -> None:
    """Shares are met exactly by weights and nearly by channels; half the multiply-adds are half; none is free."""
    rows = {(r["criterion"], r["granularity"], r["level"]): r for r in table(studied)}
    dense = rows["none", "none", "dense"]
    assert rows["snr", "weight", "p80"]["sparsity"] == pytest.approx(0.8, abs=1e-3)
    assert rows["snr", "channel", "p80"]["sparsity"] == pytest.approx(0.8, abs=0.08)
    assert rows["snr", "channel", "x2"]["multiply_adds"] <= dense["multiply_adds"] / 2  # type: ignore[operator]
    assert rows["snr", "weight", "p80"]["bytes"] < 0.65 * dense["bytes"]  # type: ignore[operator]
    assert rows["snr", "weight", "p80"]["accuracy"] > rows["random", "weight", "p80"]["accuracy"]  # type: ignore[operator]
    assert rows["bprune", "weight", "p80"]["accuracy"] < 0.5  # type: ignore[operator]


def test_a_study_that_was_interrupted_ends_at_the_same_table(digits_run: Path, studied: Path, tmp_path: Path) -> None:
    """Cells that are gone are made again, from what they start from; those that are there are left alone."""
    again = tmp_path / "again"
    shutil.copytree(studied, again)
    for cell in ("snr-weight-p80", "random-channel-x2", "bprune-weight-p50"):
        shutil.rmtree(again / "cells" / cell)
    (again / "cells" / "snr-channel-p80" / "figures.json").unlink()
    kept = (again / "cells" / "snr-weight-p50" / "figures.json").stat().st_mtime_ns
    (again / "table.json").unlink()
    result = study(digits_run, again)
    assert result.exit_code == 0, result.output
    assert result.output.count("(known)") == len(CELLS) - 4
    assert (again / "cells" / "snr-weight-p50" / "figures.json").stat().st_mtime_ns == kept
    for before, after in zip(table(studied), table(again), strict=True):
        assert {k: v for k, v in before.items() if k != TIMED} == {k: v for k, v in after.items() if k != TIMED}


def test_a_study_of_something_else_is_not_gone_on_with(digits_run: Path, studied: Path) -> None:
    result = study(digits_run, studied, *FLAGS, "--rate", "0.5")
    assert result.exit_code == 1
    assert "holds a study with pruning_rate 1.0, not 0.5: choose another --out" in result.output


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--criteria", "snr,luck"], "unknown criterion 'luck'"),
        (["--granularities", "layer"], "unknown granularity 'layer'"),
        (["--levels", "p100"], "'p100' is no level"),
        (["--schedule", "never"], "unknown schedule 'never'"),
        (["--ranking", "best"], "unknown ranking 'best'"),
    ],
)
def test_bad_flags(digits_run: Path, tmp_path: Path, flags: list[str], says: str) -> None:
    result = study(digits_run, tmp_path / "out", *flags)
    assert result.exit_code == 1
    assert says in result.output
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_finished_is_refused(digits_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    (run / "posterior.safetensors").unlink()
    result = study(run, tmp_path / "out")
    assert result.exit_code == 1
    assert "is not finished" in result.output


def test_damaged_cells_are_named(digits_run: Path, studied: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(studied, again)
    (again / "cells" / "snr-weight-p50" / "figures.json").write_text("{")
    assert "the figures of snr-weight-p50 are damaged: remove" in study(digits_run, again).output


def test_chosen_cells_are_published_as_they_are(digits_run: Path, studied: Path, tmp_path: Path) -> None:
    """Their figures are the study's, and their files are theirs: nothing is trained or evaluated again."""
    store = tmp_path / "store"
    arguments = [str(digits_run), "--from-study", str(studied), "--store", str(store), "--model", "digits"]
    result = CliRunner().invoke(prune_app, [*arguments, "--levels", "weight/p80,channel/x2,p50"])
    assert result.exit_code == 0, result.output
    opened = Store.open(store)
    manifest = opened.verify("digits", opened.resolve("digits"))
    found = {level.name: (level.criterion, level.granularity) for level in manifest.levels}
    assert found == {
        "dense": ("none", "none"),
        "p50": ("snr", "channel"),
        "p80": ("snr", "weight"),
        "x2": ("snr", "channel"),
    }
    rows = {(r["granularity"], r["level"]): r for r in table(studied) if r["criterion"] in ("snr", "none")}
    for level in manifest.levels:
        assert level.metrics.accuracy == rows[level.granularity, level.name]["accuracy"]
    refused = CliRunner().invoke(prune_app, [*arguments, "--levels", "p90"])
    assert refused.exit_code == 1
    assert "no study has a finished snr-channel-p90: there is bprune-weight-p50" in refused.output.replace("\n", " ")


def test_levels_of_two_studies_and_fewer_scales(digits_run: Path, studied: Path, tmp_path: Path) -> None:
    """Each level comes from the first study that has it; under a budget, layers in front lose their scales."""
    other, store = tmp_path / "other", tmp_path / "store"
    flags = [
        "--criteria",
        "snr",
        "--granularities",
        "channel",
        "--schedule",
        "one-shot",
        "--epochs",
        "0",
        "--draws",
        "2",
    ]
    assert study(digits_run, other, *flags, "--levels", "x3").exit_code == 0
    both = ["--from-study", str(studied), "--from-study", str(other), "--scale-budget", "0.3"]
    arguments = [str(digits_run), *both, "--store", str(store), "--model", "digits", "--levels", "x2,x3"]
    result = CliRunner().invoke(prune_app, arguments)
    assert result.exit_code == 0, result.output
    opened = Store.open(store)
    manifest = opened.verify("digits", opened.resolve("digits"))
    dense, half, third = manifest.levels
    assert [level.name for level in manifest.levels] == ["dense", "x2", "x3"]
    assert dense.shared != half.shared
    how = manifest.training.hyperparameters["pruning"]
    assert how["x3"]["tuning"]["schedule"] == "one-shot" != how["x2"]["tuning"]["schedule"]
    assert how["x2"]["scale_budget"] == how["x3"]["scale_budget"] == 0.3
    assert third.monte_carlo.draws == 2


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--levels", "half"], "'half' is no level"),
        (["--from-study", "nowhere"], "there is no study in nowhere"),
    ],
)
def test_what_cannot_be_published_says_why(
    digits_run: Path, studied: Path, tmp_path: Path, flags: list[str], says: str
) -> None:
    arguments = [str(digits_run), "--from-study", str(studied), "--store", str(tmp_path / "store"), *flags]
    result = CliRunner().invoke(prune_app, arguments)
    assert result.exit_code == 1
    assert says in result.output


def test_two_levels_of_one_name_are_refused() -> None:
    x2 = Cell("snr", "channel", Level.parse("x2"))
    assert parse_cells("weight/p80,x2,dense", "snr", "channel") == [
        Cell("none", "none", DENSE),
        Cell("snr", "weight", Level.parse("p80")),
        x2,
    ]
    with pytest.raises(LevelError, match="two of the levels are called p80"):
        parse_cells("weight/p80,channel/p80", "snr", "channel")


def test_bprune_leaves_noise_where_it_prunes() -> None:
    """Mean zero and scale softplus(0): the defect that ours must not have."""
    _, posterior = network_of("convnet", 3, 0)
    kept = {name: torch.rand_like(weight.mean) > 0.5 for name, weight in posterior.weights.items()}
    left = bprune(posterior, Mask(kept))
    for name, weight in left.weights.items():
        assert (weight.mean[~kept[name]] == 0).all()
        assert torch.allclose(weight.scale[~kept[name]], torch.nn.functional.softplus(torch.zeros(())))
        assert (weight.scale[kept[name]] == posterior.weights[name].scale[kept[name]]).all()


def test_a_posterior_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    _, posterior = network_of("convnet", 3, 0)
    cells, cell = Cells(tmp_path), Cell("snr", "weight", Level.parse("p80"))
    assert cells.posterior(cell) is None
    assert cells.found(cell) is None
    cells.keep_posterior(cell, posterior)
    found = cells.posterior(cell)
    assert isinstance(found, Posterior)
    assert found.weights.keys() == posterior.weights.keys()
