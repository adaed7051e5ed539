"""Write the report of a run: plots, and a page with the recipe and the figures.

FOLDER/curves.png        loss and accuracy over epochs
FOLDER/layers.png        each layer's scales and signal-to-noise ratios over training
FOLDER/snr.png           signal-to-noise ratios of the final posterior
FOLDER/calibration.png   accuracy by confidence
FOLDER/report.md         all of them, and tables
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training.atomic import write_atomically
from training.errors import RunError
from training.evaluation.mean_network import MeanNetworkFigures
from training.evaluation.metrics import predictive
from training.recipe import Recipe
from training.report.markdown import render_page
from training.report.plots import calibration, curves, layers, snr
from training.report.plots.style import png
from training.trainer.run_dir import Run


class PlotUnavailable(Exception):
    """Raised if a plot cannot be drawn (yet); its text is the reason."""


@dataclass(frozen=True)
class ReportData:
    """The data of a run for plots and page."""

    run: Run
    recipe: Recipe
    log: list[dict[str, Any]]
    layer_lines: list[dict[str, Any]]
    quality: dict[str, Any] | None
    ratios: snr.Ratios | None

    @classmethod
    def of(cls, run: Run) -> ReportData:
        """Read a run; raise RunError if there is none or its logs are damaged."""
        return cls(
            run,
            run.recipe(),
            _lines(run, "log.jsonl", _check_log),
            _lines(run, "layers.jsonl", _check_layers),
            _quality(run),
            snr.ratios(run.posterior()) if run.finished else None,
        )

    @property
    def epochs_done(self) -> int:
        """Return the number of complete epochs in the log."""
        return int(self.log[-1]["epoch"]) if self.log else 0


@dataclass(frozen=True)
class Report:
    """Files of a report: `written`, the page last, and the reason for each one `missing`, by file."""

    written: list[Path]
    missing: dict[str, str]


def write_report(run: Run, folder: Path) -> Report:
    """Write the report of `run`, finished or not, into `folder`, which is created if missing.

    Raises TrainingError if there is no run, one of its files is damaged or the folder cannot be written.
    """
    data = ReportData.of(run)
    drawn: dict[str, bytes] = {}
    missing: dict[str, str] = {}
    for name, draw in PLOTS.items():
        try:
            drawn[name] = png(draw(data))
        except PlotUnavailable as reason:
            missing[name] = str(reason)
    text = render_page(run.folder.resolve().name, data.recipe, data.log, data.quality, data.ratios, missing)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in missing:  # an old plot would be taken for this run's
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"cannot write the report in {folder}: {error.strerror}") from error
    files = drawn | {"report.md": text.encode()}
    for name, content in files.items():
        write_atomically(folder / name, content)
    return Report([folder / name for name in files], missing)


def _curves(data: ReportData) -> Figure:
    if not data.log:
        raise PlotUnavailable("the run has not finished its first epoch")
    return curves.figure(data.log, data.recipe.posterior_epochs)


def _layers(data: ReportData) -> Figure:
    _check_random(data)
    if not layers.plottable_layers(data.layer_lines):
        raise PlotUnavailable("the run has no layer histograms yet")
    return layers.figure(data.layer_lines, data.recipe.posterior_epochs)


def _snr(data: ReportData) -> Figure:
    _check_random(data)
    if data.ratios is None:
        raise PlotUnavailable("the run is not finished: it has no posterior yet")
    if not data.ratios:
        raise PlotUnavailable("no weight of the posterior has a scale above zero")
    return snr.figure(data.ratios)


def _calibration(data: ReportData) -> Figure:
    if not (data.run.folder / "predictions.npz").exists():
        raise PlotUnavailable("the run has left no predictions" if data.run.finished else "the run is not finished")
    logits_SNK, labels_N = data.run.predictions()
    return calibration.figure(predictive(logits_SNK), labels_N)


def _check_random(data: ReportData) -> None:
    if data.recipe.estimator == "none":
        raise PlotUnavailable("the run trained the plain network (estimator none): its weights have no scales")


PLOTS: dict[str, Callable[[ReportData], Figure]] = {
    "curves.png": _curves,
    "layers.png": _layers,
    "snr.png": _snr,
    "calibration.png": _calibration,
}


def _check_log(line: dict[str, Any]) -> None:
    _ = int(line["epoch"]), [float(value) for value in line.values()]


def _check_layers(line: dict[str, Any]) -> None:
    for of_layer in line["layers"].values():
        for kind in layers.KINDS.keys() & of_layer.keys():
            low, high = of_layer[f"{kind}_range"]
            _ = int(line["epoch"]), float(low), float(high), sum(of_layer[kind], 0.0)


def _lines(run: Run, name: str, check: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    try:
        lines = run.lines(name)
        for line in lines:
            check(line)
    except OSError as error:
        raise RunError(f"{name} of the run in {run.folder} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{name} of the run in {run.folder} is damaged: {error}") from error
    return lines


def _quality(run: Run) -> dict[str, Any] | None:
    try:
        quality = run.quality() if (run.folder / "quality.json").exists() else None
        if quality is not None:
            _ = float(quality["accuracy"]), int(quality["images"])
        if quality is not None and quality.get("mean_network") is not None:
            _ = MeanNetworkFigures(**quality["mean_network"])
        return quality
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"quality.json of the run in {run.folder} is damaged: {error}") from error
