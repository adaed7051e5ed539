"""Members of a mixture: ordinary runs, one split, seeds of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.cli.train import app
from training.errors import RecipeError, RunError
from training.recipe import Recipe
from training.trainer.members import member_recipe, member_run, members_recipe, num_members, runs_in
from training.trainer.run_dir import Run

QUICK = ["--limit", "200", "--epochs", "1", "--batch-size", "64", "--estimator", "none"]


def train(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*QUICK, *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_members_are_runs_of_their_own(tmp_path: Path) -> None:
    """The same bits as trained alone with their seed and split; finished ones are kept, more may be added."""
    out = tmp_path / "mixture"
    said = train("--members", "2", "--seed", "5", "--out", str(out))
    assert said.count("test accuracy") == 2
    assert [run.folder.name for run in runs_in(out)] == ["member-0", "member-1"]
    assert [(run.recipe().seed, run.recipe().data_seed) for run in runs_in(out)] == [(5, 5), (6, 5)]
    train("--seed", "6", "--split-seed", "5", "--out", str(tmp_path / "alone"))
    ours, alone = member_run(out, 1).posterior(), Run(tmp_path / "alone").posterior()
    assert all(value.equal(alone.rest[name]) for name, value in ours.rest.items())
    kept = (out / "member-1" / "posterior.safetensors").stat().st_mtime_ns
    train("--members", "3", "--resume", "--out", str(out))
    assert num_members(out) == 3
    assert member_run(out, 2).recipe().seed == 7
    assert (out / "member-1" / "posterior.safetensors").stat().st_mtime_ns == kept
    train("--resume", "--out", str(out))  # the number of members is known
    start = ["--estimator", "none", "--init-from", str(out), "--members", "3", "--out", str(tmp_path / "on")]
    train(*start)
    assert members_recipe(tmp_path / "on").init_from == str(out)
    train(*start, "--resume")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--members", "0"], "members must be 1 to 16, got 0"),
        (["--members", "17"], "members must be 1 to 16, got 17"),
    ],
)
def test_bad_numbers_end_with_one_line(arguments: list[str], reason: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*QUICK, *arguments, "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert reason in result.output
    assert not (tmp_path / "run").exists()


def test_members_do_not_start_from_one_network(tmp_path: Path) -> None:
    """They would stay in one mode."""
    recipe = Recipe(init_from=str(tmp_path / "plain"))
    assert member_recipe(recipe, 0).init_from == recipe.init_from
    with pytest.raises(RecipeError, match="has 1 networks to start from, too few for member 1"):
        member_recipe(recipe, 1)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "members.json").write_text(json.dumps({"members": 2}))
    assert member_recipe(recipe, 1) == replace(
        recipe, seed=1, split_seed=0, init_from=str(tmp_path / "plain" / "member-1")
    )


def test_damaged_and_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "members.json").write_text("{")
    with pytest.raises(RunError, match=r"members\.json .* cannot be read"):
        runs_in(tmp_path)
    (tmp_path / "members.json").write_text(json.dumps({"members": 99}))
    with pytest.raises(RunError, match="expected 1 to 16 members, got 99"):
        runs_in(tmp_path)
    with pytest.raises(RunError, match="holds members: name one of them"):
        Run(tmp_path).recipe()
    assert [run.folder for run in runs_in(tmp_path / "other")] == [tmp_path / "other"]
