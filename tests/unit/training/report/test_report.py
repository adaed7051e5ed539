"""Reports of runs that are finished, that are not, that are damaged, and of none."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from model_store.small_samples import accuracy_text
from tests.support.project import PROJECT
from training.bayesian.posterior import GaussianWeight, Posterior
from training.cli.report import app
from training.errors import RunError
from training.recipe import Recipe
from training.report.report import write_report
from training.trainer.recorder import histograms, weight_statistics
from training.trainer.run_dir import Run

PLOTS = ["curves.png", "layers.png", "snr.png", "calibration.png"]
MISSING = re.compile(r"(\S+\.png) is left out: (.+)")


def begin(folder: Path, **settings: Any) -> Run:
    """A run of four epochs that has left its recipe and nothing else."""
    recipe = Recipe(epochs=4, **settings)
    folder.mkdir()
    facts = {"recipe": recipe.to_json(), "data_dir": None, "classes": ["a", "b"], "pixels": {}, "world_size": 1}
    (folder / "recipe.json").write_text(json.dumps(facts))
    return Run(folder)


def log(run: Run, epochs: int, weight: GaussianWeight) -> None:
    for epoch in range(1, epochs + 1):
        run.log(epoch=epoch, images=10 * epoch, loss=1 / epoch, data=0.5 / epoch, kl=9.0, accuracy=0.5, seconds=60.0)
        run.log_layers(epoch, 10 * epoch, {"0.weight": histograms(weight_statistics(weight))})


NOISY = GaussianWeight(torch.tensor([1.0, -2.0, 3.0, 4.0]), torch.ones(4))
QUIET = GaussianWeight(torch.tensor([1.0, -2.0, 3.0, 4.0]), torch.zeros(4))


@pytest.fixture
def unfinished(tmp_path: Path) -> Run:
    """Two epochs of four."""
    run = begin(tmp_path / "run")
    log(run, 2, NOISY)
    return run


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    run = begin(tmp_path / "run")
    log(run, 4, NOISY)
    finish(run, NOISY)
    return run


def finish(run: Run, weight: GaussianWeight) -> None:
    quality = {"accuracy": 0.75, "nll": 0.5, "ece": 0.1, "images": 4, "draws": 32}
    p_NK = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    run.finish(Posterior({"0.weight": weight}, {}), quality, p_NK.log()[None], torch.tensor([0, 0, 1, 1]))


def assert_pictures(paths: list[Path]) -> None:
    """Each is a PNG that fits a screen and shows more than one colour."""
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert 700 <= image.width <= 1_600
            assert 300 <= image.height <= 1_600
            colours = image.convert("L").getextrema()
            assert colours[0] < 128 < colours[1]


def test_a_real_run_has_all_plots_and_a_page_of_them(digits_run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(digits_run), "--out", str(tmp_path / "deep" / "report")])
    assert result.exit_code == 0, result.output
    folder = tmp_path / "deep" / "report"
    assert result.stdout.splitlines() == [str(folder / name) for name in [*PLOTS, "report.md"]]
    assert not result.stderr
    assert_pictures([folder / name for name in PLOTS])
    text, run = (folder / "report.md").read_text(), Run(digits_run)
    assert re.findall(r"!\[.+\]\((.+)\)", text) == PLOTS
    assert "finished, 8 of 8 epochs" in text
    accuracy = accuracy_text(run.quality()["accuracy"], run.quality()["images"])
    assert f"| Accuracy, with its 95 % interval | {accuracy} |" in text
    assert f"| ECE, 15 bins | {run.quality()['ece']:.4f} |" in text
    mean = run.quality()["mean_network"]
    assert f"| Mean network, one pass | {mean['temperature']:.3f} | {mean['accuracy']:.2%} |" in text
    assert f"Draws gain {mean['nll_gain']:.4f} ± {mean['nll_gain_error']:.4f} nats" in text
    for name, value in run.recipe().to_json().items():
        assert f"| `{name}` | {'–' if value is None else value} |" in text
    assert not (digits_run / "report").exists()


def test_a_report_lies_in_its_run_unless_said_otherwise(finished: Run) -> None:
    result = CliRunner().invoke(app, [str(finished.folder)])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (finished.folder / "report").iterdir()} == {*PLOTS, "report.md"}


def test_a_run_that_goes_on_is_drawn_as_far_as_it_is(unfinished: Run) -> None:
    """A part of a line, as a crash leaves it, is no line."""
    for name in ("log.jsonl", "layers.jsonl"):
        with (unfinished.folder / name).open("a") as file:
            file.write('{"epoch": 3, "ima')
    result = CliRunner().invoke(app, [str(unfinished.folder)])
    assert result.exit_code == 0, result.output
    folder = unfinished.folder / "report"
    assert_pictures([folder / "curves.png", folder / "layers.png"])
    missing = dict(MISSING.findall(result.stderr))
    assert missing == {
        "snr.png": "the run is not finished: it has no posterior yet",
        "calibration.png": "the run is not finished",
    }
    text = (folder / "report.md").read_text()
    assert "not finished, 2 of 4 epochs" in text
    assert "Not drawn: the run is not finished." in text
    assert re.findall(r"!\[.+\]\((.+)\)", text) == ["curves.png", "layers.png"]


def test_a_run_without_an_epoch_has_a_page_of_what_is_missing(tmp_path: Path) -> None:
    report = write_report(begin(tmp_path / "run"), tmp_path / "report")
    assert report.written == [tmp_path / "report" / "report.md"]
    assert list(report.missing) == PLOTS
    assert "has not finished its first epoch" in report.missing["curves.png"]
    assert "0 of 4 epochs." in report.written[0].read_text()


def test_a_plain_run_has_no_scales_to_draw(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", estimator="none")
    log(run, 4, QUIET)
    finish(run, QUIET)
    report = write_report(run, tmp_path / "report")
    assert [path.name for path in report.written] == ["curves.png", "calibration.png", "report.md"]
    assert report.missing.keys() == {"layers.png", "snr.png"}
    assert all("estimator none" in reason for reason in report.missing.values())


def test_a_plot_of_an_earlier_run_does_not_pass_for_this_one(finished: Run) -> None:
    folder = finished.folder / "report"
    write_report(finished, folder)
    (folder / "notes.txt").touch()
    run = begin(finished.folder.parent / "other")
    write_report(run, folder)
    assert {path.name for path in folder.iterdir()} == {"report.md", "notes.txt"}


def test_no_run_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == (f"Error: there is no run in {tmp_path}: expected a folder that `slimbayes train` wrote\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipe.json", b"{"),
        ("log.jsonl", b"{\n"),
        ("log.jsonl", b"[1]\n"),
        ("log.jsonl", b'{"epoch": 1, "loss": "high"}\n'),
        ("layers.jsonl", b'{"images": 1}\n'),
        ("layers.jsonl", b'{"epoch": 1, "layers": [1]}\n'),
        ("layers.jsonl", b'{"epoch": 1, "layers": {"0": {"log_scale": 3, "log_snr": 3}}}\n'),
        ("quality.json", b"\xff"),
        ("quality.json", b"[3]"),
        ("quality.json", b'{"nll": 1}'),
        ("quality.json", b'{"mean_network": {"nll": 1}}'),
        ("predictions.npz", b"PK\x03\x04"),
        ("predictions.npz", b""),
        ("posterior.safetensors", b"{"),
    ],
)
def test_a_damaged_file_ends_with_one_line(finished: Run, name: str, content: bytes) -> None:
    (finished.folder / name).write_bytes(content)
    result = CliRunner().invoke(app, [str(finished.folder)])
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert name.partition(".")[0] in result.stderr
    assert "damaged" in result.stderr or "cannot be read" in result.stderr


def test_a_folder_that_cannot_be_written_is_refused(finished: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write the report in"):
        write_report(finished, tmp_path / "file" / "report")


def test_the_command_is_one_of_slimbayes() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["slimbayes.commands"]["report"] == "training.cli.report:app"


def test_the_page_has_thresholds_and_layers(finished: Run) -> None:
    """Ratios of 1, 2, 3 and 4: half lie below 2.5."""
    text = write_report(finished, finished.folder / "report").written[-1].read_text()
    assert "| 50% | 2.5 |" in text
    assert "| `0.weight` | 4 | 2.5 | 50.0% | 75.0% | 75.0% | 75.0% |" in text
    assert "4 of 4 epochs, 0:04:00 of training." in text
