"""Measure the quality of each estimator on CIFAR-10, with the commands that a user would type.

    python -m benchmarks.training.cifar10 --data-dir data --runs runs/cifar10 --json docs/results/cifar10.json

Trains each missing row by `slimbayes train --resume`, so the benchmark can be interrupted, then evaluates each run's 32
draws on the official test set. The temperature is fitted to 32 draws on the 5,000 calibration images, which are held
out of training. Out-of-distribution images are the first 2,000 of `cifar-100-ood.npz` in the data folder, scored by
predictive entropy and by mutual information. Beside each posterior stands its mean network, in one pass and at a
temperature of its own, with what draws gain over it. Writes the JSON and, beside it, a table and a plot. `--quick`
takes 200 images and one epoch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import matplotlib as mpl
import torch
import typer
from torch import Tensor

from training.data import load_dataset
from training.data.dataset import Dataset
from training.evaluation import metrics
from training.evaluation.mean_network import MeanNetworkFigures, compare_with_mean
from training.evaluation.prediction import draw_logits, drawing
from training.evaluation.temperature import fit_temperature
from training.progress import Stage
from training.randomness import generator_for
from training.trainer.initialization import fresh_network
from training.trainer.run_dir import Run
from training.trainer.train import mean_predictions

mpl.use("Agg")
from matplotlib import pyplot as plt

OOD_NAME, OOD_COUNT = "cifar-100", 2_000
# Flags beyond the defaults. The epochs of a row take about an hour of one core.
ROWS: dict[str, list[str]] = {
    "none": ["--estimator", "none", "--epochs", "50"],
    "ivon": ["--estimator", "ivon"],
    "flipout": ["--estimator", "flipout", "--epochs", "20"],
}


def main(
    data_dir: Annotated[Path, typer.Option(help="Folder with CIFAR-10.")],
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few images and one epoch.")] = False,
    rows: Annotated[str, typer.Option(help="Rows, separated by commas.")] = ",".join(ROWS),
) -> None:
    """Train, evaluate and print the table."""
    if not (data_dir / f"{OOD_NAME}-ood.npz").exists():
        raise typer.BadParameter(f"{data_dir} has no {OOD_NAME}-ood.npz", param_hint="--data-dir")
    found = []
    for name in rows.split(","):
        flags = list(ROWS[name])
        flags += ["--epochs", "1", "--limit", "200"] if quick else []
        out = runs / name.replace(" ", "-")
        command = ["train", "--data", "cifar10", "--data-dir", str(data_dir), *flags, "--out", str(out), "--resume"]
        subprocess.run([sys.executable, "-m", "training", *command[1:]], check=True, stdout=sys.stderr)
        found.append({"row": name, "command": f"slimbayes {' '.join(command)}", **evaluated(Run(out), data_dir)})
    table = as_table(found)
    print(table)
    if json_file is not None:
        json_file.write_text(json.dumps({"dataset": "cifar10", "split": "test", "rows": found}, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")
        plot(found, json_file.with_suffix(".png"))


def evaluated(run: Run, data_dir: Path) -> dict[str, Any]:
    """Return the figures of a finished run."""
    recipe, log = run.recipe(), run.lines("log.jsonl")
    dataset = load_dataset(recipe.data, data_dir, seed=recipe.data_seed, limit=recipe.limit)
    logits_SNK, labels_N = run.predictions()
    num_draws, ood_NHWC = len(logits_SNK), dataset.out_of_distribution[OOD_NAME][:OOD_COUNT]
    held_SNK, ood_SMK = (logits(run, dataset, images, num_draws) for images in (dataset.calibration.pixels, ood_NHWC))
    temperature = fit_temperature(held_SNK, dataset.calibration.labels)
    raw_NK, p_NK = metrics.predictive(logits_SNK), metrics.predictive(logits_SNK, temperature)
    mean = mean_network(run, dataset, p_NK) if num_draws > 1 else None
    ood_MK = metrics.predictive(ood_SMK, temperature)
    information = [metrics.mutual_information(each, temperature) for each in (logits_SNK, ood_SMK)]
    return {
        "architecture": recipe.architecture,
        "estimator": recipe.estimator,
        "epochs": recipe.epochs,
        "beta": recipe.beta,
        "seed": recipe.seed,
        "draws": num_draws,
        "images": len(labels_N),
        "seconds_per_epoch": median(line["seconds"] for line in log),
        "training_minutes": minutes(run),
        "minutes_before": minutes(run.plain) if recipe.plain_epochs else 0.0,
        "accuracy": metrics.accuracy(raw_NK, labels_N),
        "nll": metrics.nll(raw_NK, labels_N),
        "ece": metrics.ece(raw_NK, labels_N),
        "temperature": temperature,
        "nll_calibrated": metrics.nll(p_NK, labels_N),
        "ece_calibrated": metrics.ece(p_NK, labels_N),
        "brier_calibrated": metrics.brier(p_NK, labels_N),
        "mean_network": None if mean is None else asdict(mean),
        "auroc_entropy": metrics.auroc(metrics.entropy(p_NK), metrics.entropy(ood_MK)),
        "auroc_mutual_information": metrics.auroc(*information) if num_draws > 1 else None,
        "log": [{key: line[key] for key in ("epoch", "seconds", "held_out_accuracy", "held_out_nll")} for line in log],
    }


def minutes(run: Run) -> float:
    """Sum the epochs' minutes of a run that was not interrupted."""
    return float(sum(line["seconds"] for line in run.lines("log.jsonl")) / 60)


def logits(run: Run, dataset: Dataset, images_NHWC: Tensor, num_draws: int) -> Tensor:
    """Return logits float32 [S, N, K] of draws from the run's posterior."""
    recipe = run.recipe()
    draw = drawing(
        fresh_network(recipe, dataset), run.posterior(), dataset.pixels, generator_for(recipe.seed, "benchmark")
    )
    with Stage(f"evaluating {run.folder.name}", num_draws * len(images_NHWC)) as stage, torch.no_grad():
        return draw_logits(draw, images_NHWC, num_draws, stage)


def mean_network(run: Run, dataset: Dataset, p_NK: Tensor) -> MeanNetworkFigures:
    """Compare the draws' predictions of the test images with one pass of the posterior mean."""
    plain, posterior = fresh_network(run.recipe(), dataset), run.posterior()
    held, test = (mean_predictions(plain, dataset, images, posterior) for images in (dataset.calibration, dataset.test))
    return compare_with_mean(p_NK, held, test, dataset.turns)


def as_table(rows: list[dict[str, Any]]) -> str:
    """Format the rows as Markdown."""
    lines = [
        "| | β | epochs | s/epoch | minutes | accuracy | NLL | ECE | T | NLL at T | ECE at T "
        "| mean: accuracy | NLL | ECE | draws gain, nats | AUROC H | AUROC MI |",
        "|---" + "|--:" * 16 + "|",
    ]
    for row in rows:
        information, before = row["auroc_mutual_information"], row["minutes_before"]
        mean = row["mean_network"]
        beside = (
            "| | |"
            if mean is None
            else f"{mean['accuracy']:.2%} | {mean['nll']:.3f} | {mean['ece']:.4f} "
            f"| {mean['nll_gain']:.4f} ± {mean['nll_gain_error']:.4f}"
        )
        lines.append(
            f"| {row['row']} | {row['beta']:g} | {row['epochs']} | {row['seconds_per_epoch']:.0f} "
            f"| {row['training_minutes']:.0f}{f' + {before:.0f}' if before else ''} "
            f"| {row['accuracy']:.2%} | {row['nll']:.3f} | {row['ece']:.4f} | {row['temperature']:.2f} "
            f"| {row['nll_calibrated']:.3f} | {row['ece_calibrated']:.4f} | {beside} | {row['auroc_entropy']:.3f} "
            f"| {'' if information is None else f'{information:.3f}'} |"
        )
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot accuracy on held-out images over minutes of training."""
    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for row, colour in zip(rows, ("#555555", "#0072b2", "#d55e00", "#cc79a7", "#009e73"), strict=False):
        seconds = torch.tensor([line["seconds"] for line in row["log"]])
        passed = (row["minutes_before"] + seconds.cumsum(0) / 60).tolist()
        accuracies = [line["held_out_accuracy"] for line in row["log"]]
        axis.plot(passed, accuracies, color=colour)
        axis.text(passed[-1], accuracies[-1], f" {row['row']}", color=colour, va="center")
    axis.set_xlabel("minutes of training")
    axis.set_title("accuracy at the posterior mean, held-out images", loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.2)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
