"""Render the report of a run as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from model_store.small_samples import accuracy_text
from training.evaluation.mean_network import MeanNetworkFigures
from training.recipe import Recipe
from training.report.plots import snr

PLOT_CAPTIONS = {
    "curves.png": (
        "Curves",
        "Loss and accuracy as means over each epoch's training images, and on held-out images at the posterior mean.",
    ),
    "layers.png": (
        "Layers",
        "Each column is the distribution of a layer's weights at one epoch, relative to its highest density.",
    ),
    "snr.png": ("Signal-to-noise ratios", "Pruning by `snr` removes the weights with the lowest ratio first."),
    "calibration.png": ("Calibration", "Points above the diagonal are underconfident, points below it overconfident."),
}
QUALITY_ROWS = {
    "accuracy": ("Accuracy, with its 95 % interval", "{}"),
    "nll": ("NLL, nats", "{:.4f}"),
    "ece": ("ECE, 15 bins", "{:.4f}"),
    "images": ("Test images", "{:,}"),
    "draws": ("Draws", "{:,}"),
}
EPOCH_ROWS = {
    "loss": ("Loss", "{:.4f}"),
    "data": ("Data term", "{:.4f}"),
    "kl": ("KL divergence, nats", "{:,.0f}"),
    "accuracy": ("Training accuracy", "{:.2%}"),
    "held_out_accuracy": ("Held-out accuracy", "{:.2%}"),
    "held_out_nll": ("Held-out NLL", "{:.4f}"),
    "hessian_left": ("Initial Hessian left", "{:.1%}"),
}


def render_page(
    title: str,
    recipe: Recipe,
    log: Sequence[dict[str, Any]],
    quality: Mapping[str, Any] | None,
    ratios: snr.Ratios | None,
    missing: Mapping[str, str],
) -> str:
    """Render the page; `missing` holds the reason for each missing plot, by file."""
    parts = [f"# {title}", _progress(recipe, log, finished=ratios is not None)]
    if quality is not None:
        figures = {**quality, "accuracy": accuracy_text(quality["accuracy"], quality["images"])}
        parts += ["## Quality on the test set", _figures(QUALITY_ROWS, figures), *_beside_mean(quality)]
    if log:
        parts += ["## Last epoch", _figures(EPOCH_ROWS, log[-1])]
    for file, (heading, caption) in PLOT_CAPTIONS.items():
        shown = f"Not drawn: {missing[file]}." if file in missing else f"![{heading}]({file})\n\n{caption}"
        parts += [f"## {heading}", shown]
        if file == "snr.png" and ratios:
            parts += [_thresholds(ratios), _by_layer(ratios)]
    settings = {name: "–" if value is None else value for name, value in recipe.to_json().items()}
    parts += [
        "## Recipe",
        table(["Setting", "Value"], [[f"`{name}`", _cell(value)] for name, value in settings.items()]),
    ]
    return "\n\n".join(parts) + "\n"


def _beside_mean(quality: Mapping[str, Any]) -> list[str]:
    """Compare draws with the mean network, each at its own temperature; nothing for a plain network."""
    if quality.get("mean_network") is None:
        return []
    mean = MeanNetworkFigures(**quality["mean_network"])
    rows = [
        [
            f"{quality['draws']} draws",
            f"{quality['temperature']:.3f}",
            f"{quality['accuracy']:.2%}",
            f"{quality['nll_calibrated']:.4f}",
            f"{quality['ece_calibrated']:.4f}",
        ],
        [
            "Mean network, one pass",
            f"{mean.temperature:.3f}",
            f"{mean.accuracy:.2%}",
            f"{mean.nll:.4f}",
            f"{mean.ece:.4f}",
        ],
    ]
    header = ["At the temperature of the calibration set", "T", "Accuracy", "NLL, nats", "ECE"]
    words = mean.describe_gain()
    return [table(header, rows), f"{words[0].upper()}{words[1:]}."]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table, its first column left-aligned and the others right-aligned."""
    rules = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rules, *rows])


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")


def _progress(recipe: Recipe, log: Sequence[dict[str, Any]], *, finished: bool) -> str:
    done = log[-1]["epoch"] if log else 0
    state = "finished" if finished else "not finished"
    seconds = sum(float(line.get("seconds", 0.0)) for line in log)
    duration = f", {timedelta(seconds=round(seconds))} of training" if math.isfinite(seconds) and log else ""
    start = f" after {recipe.plain_epochs} as a plain network" if recipe.plain_epochs else ""
    return (
        f"{recipe.architecture} on {recipe.data} with estimator {recipe.estimator}: "
        f"{state}, {done} of {recipe.posterior_epochs} epochs{start}{duration}."
    )


def _figures(shown: Mapping[str, tuple[str, str]], figures: Mapping[str, Any]) -> str:
    rows = [[called, form.format(figures[name])] for name, (called, form) in shown.items() if name in figures]
    return table(["Figure", "Value"], rows)


def _thresholds(ratios: snr.Ratios) -> str:
    rows = [[f"{share:.0%}", f"{threshold:.4g}"] for share, threshold in snr.thresholds(ratios).items()]
    return table(["Of all weights", "\\|mean\\| / scale below"], rows)


def _by_layer(ratios: snr.Ratios) -> str:
    limits = snr.thresholds(ratios)
    rows = []
    for name, values in ratios.items():
        pruned = [f"{np.mean(values < limit):.1%}" for limit in limits.values()]
        rows.append([f"`{name}`", f"{len(values):,}", f"{np.median(values):.3g}", *pruned])
    header = ["Layer", "Weights", "Median ratio", *(f"Pruned at {share:.0%}" for share in limits)]
    return table(header, rows)
