"""Cells of a study that are chosen to be published, and those that cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from model_store.small_samples import DrawsGain
from model_store.store import Store
from pruning.cli.prune import app as prune_app
from pruning.errors import LevelError
from pruning.level import DENSE, Level
from pruning.study.select import Selection, parse_selections
from pruning.study.trial import Trial
from tests.support.studies import study, table
from training.bayesian.posterior import GaussianWeight, Posterior


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--levels", "half"], "'half' is not a level"),
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
    x2 = Trial("snr", "channel", Level.parse("x2"))
    assert parse_selections("weight/p80,x2,dense", "snr", "channel", 1) == [
        Selection(Trial("none", "none", DENSE), 1),
        Selection(Trial("snr", "weight", Level.parse("p80")), 1),
        Selection(x2, 1),
    ]
    assert [each.members for each in parse_selections("dense,x2,channel/x2-m1", "snr", "channel", 3)] == [1, 3, 1, 3]
    with pytest.raises(LevelError, match="two of the levels are called p80"):
        parse_selections("weight/p80,channel/p80", "snr", "channel", 1)


def test_chosen_cells_are_published_as_they_are(digits_run: Path, studied: Path, tmp_path: Path) -> None:
    """Their figures are the study's, and their files are theirs: nothing is trained or evaluated again."""
    store = tmp_path / "store"
    arguments = [str(digits_run), "--from-study", str(studied), "--store", str(store), "--model", "digits"]
    flags = ["--criterion", "snr", "--levels", "weight/p80,channel/x2,p50", "--draws", "2"]
    result = CliRunner().invoke(prune_app, [*arguments, *flags])
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
    refused = CliRunner().invoke(prune_app, [*arguments, "--criterion", "snr", "--levels", "p90"])
    assert refused.exit_code == 1
    assert "has a finished snr-channel-p90: there is bprune-weight-p50" in refused.output.replace("\n", " ")


def test_levels_of_two_studies_and_fewer_random_layers(digits_run: Path, studied: Path, tmp_path: Path) -> None:
    """Each level comes from the first study that has it; with fewer random layers, draws share more."""
    other, store = tmp_path / "other", tmp_path / "store"
    flags = [
        "--criteria",
        "magnitude",
        "--granularities",
        "channel",
        "--schedule",
        "one-shot",
        "--epochs",
        "0",
        "--draws",
        "2",
        "--random",
        "last:1",
    ]
    assert study(digits_run, other, *flags, "--levels", "x3").exit_code == 0
    both = ["--from-study", str(studied), "--from-study", str(other), "--criterion", "magnitude", "--draws", "2"]
    arguments = [str(digits_run), *both, "--store", str(store), "--model", "digits", "--levels", "x2,x3"]
    result = CliRunner().invoke(prune_app, arguments)
    assert result.exit_code == 0, result.output
    opened = Store.open(store)
    manifest = opened.verify("digits", opened.resolve("digits"))
    dense, half, third = manifest.levels
    assert [level.name for level in manifest.levels] == ["dense", "x2", "x3"]
    assert dense.shared == half.shared != third.shared
    how = manifest.training.hyperparameters["pruning"]
    assert how["x3"]["tuning"]["schedule"] == "one-shot" != how["x2"]["tuning"]["schedule"]
    assert [how[name]["random"] for name in ("x2", "x3")] == ["all", "last:1"]
    assert third.monte_carlo.draws == 2


def test_a_level_whose_draws_gain_nothing_is_published_as_its_mean(
    digits_run: Path, studied: Path, tmp_path: Path
) -> None:
    """With one draw, which is one pass without scales; the comparison stays. A number of draws keeps them."""
    arguments = [
        str(digits_run),
        "--from-study",
        str(studied),
        "--model",
        "digits",
        "--criterion",
        "snr",
        "--levels",
        "x2",
    ]
    manifests = {}
    for name, flags in {"default": [], "asked": ["--draws", "4"]}.items():
        store = tmp_path / name
        result = CliRunner().invoke(prune_app, [*arguments, *flags, "--levels", "x2", "--store", str(store)])
        assert result.exit_code == 0, result.output
        opened = Store.open(store)
        manifests[name] = opened.verify("digits", opened.resolve("digits"))
        judged = [level.mean_network.draws_gain for level in manifests[name].levels if level.mean_network]
        assert result.output.count("draws add nothing here") == judged.count(DrawsGain.NOTHING)
        assert result.output.count("too few test images to tell") == judged.count(DrawsGain.UNCLEAR)
    assert {level.monte_carlo.draws for level in manifests["asked"].levels} == {4}
    seen = 0
    for level in manifests["default"].levels:
        assert level.mean_network is not None
        assert level.monte_carlo.draws == (2 if level.mean_network.draws_gain.worth_drawing else 1)
        if level.monte_carlo.draws == 1:
            assert level.shared == ("logits",)
            assert level.metrics.nll == pytest.approx(level.mean_network.nll)
            seen += 1
    assert seen > 0  # two draws are worse than the mean


def test_a_mixture_takes_each_member_from_a_study_of_its_run(digits_run: Path, studied: Path, tmp_path: Path) -> None:
    """In whatever order the studies are named; members pruned differently, or not at all, are refused."""
    other, studies, store = tmp_path / "other", tmp_path / "studies", tmp_path / "store"
    shutil.copytree(digits_run, other)
    posterior = Posterior.load(other / "posterior.safetensors")
    weights = {name: GaussianWeight(w.mean * 0.9, w.scale) for name, w in posterior.weights.items()}
    Posterior(weights, posterior.rest).save(other / "posterior.safetensors")
    flags = ["--criteria", "magnitude", "--granularities", "channel", "--schedule", "one-shot", "--epochs", "0"]
    flags += ["--controls", "none"]
    for run in (digits_run, other):
        assert study(run, studies / run.name, *flags, "--levels", "x2", "--draws", "2").exit_code == 0

    def publish(*own: Path) -> Result:
        named = [part for folder in own for part in ("--from-study", str(folder))]
        arguments = [str(digits_run), str(other), *named, "--criterion", "magnitude", "--levels", "x2,x2-m1"]
        return CliRunner().invoke(prune_app, [*arguments, "--store", str(store), "--model", "digits", "--draws", "2"])

    result = publish(studies / other.name, studies / digits_run.name)
    assert result.exit_code == 0, result.output
    opened = Store.open(store)
    manifest = opened.verify("digits", opened.resolve("digits"))
    members = {level.name: (level.members, level.monte_carlo.draws) for level in manifest.levels}
    assert members == {"dense": (1, 2), "x2": (1, 2), "x2-m2": (2, 4)}
    alone, mixture = manifest.levels[1:]
    assert mixture.parameters > alone.parameters
    refused = publish(studies / digits_run.name)
    assert refused.exit_code == 1
    assert "has a finished magnitude-channel-x2: there is none so far" in refused.output.replace("\n", " ")
    differ = publish(studies / other.name, studied)
    assert differ.exit_code == 1
    assert "the members of x2-m2 were pruned with different settings" in differ.output.replace("\n", " ")
