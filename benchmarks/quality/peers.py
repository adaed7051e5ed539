"""Compare posteriors, and mixtures of pruned ones, with plain networks, MC dropout and ensembles on CIFAR-10.

    python -m benchmarks.quality.peers --data-dir data --runs runs/peers --json docs/results/peers.json

All start from the same plain networks, one a seed, and train for the same epochs more; pruning to x4, with the dense
posterior as teacher, takes epochs of its own, which the table shows. Trains each missing run by the
commands that a user would type, so the benchmark can be interrupted. Figures are of the 10,000 test images, at a
temperature fitted on the 5,000 calibration images; mean and standard deviation over seeds 0 to 2 where a row has one
network. Out-of-distribution images are 2,000 of CIFAR-100. Corrupted images are 1,000 test images under four
corruptions at five strengths, with 8 draws. Costs are in passes of the dense network. `--quick` takes 1,200 images,
one epoch and fewer draws.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import matplotlib as mpl
import torch
import typer
from torch import Tensor

from benchmarks.harness.machine import machine
from benchmarks.quality.dropout import dropout_logits, train_dropout
from benchmarks.quality.figures import figures, over_seeds, rank_correlation
from benchmarks.quality.predictions import Extent, Predictions, Predictor, mixture
from pruning.graph.compaction import fold_and_compact
from pruning.graph.network import posterior_mean
from pruning.level import Level
from pruning.study.runner import TRIALS
from pruning.study.trial import Trial, TrialStore
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior
from training.trainer.loop import LoopOptions
from training.trainer.members import member_run

mpl.use("Agg")
from matplotlib import pyplot as plt

MEMBERS, SEEDS = 4, 3
PLAIN_EPOCHS, MORE_EPOCHS, MORE_RATE, PRUNING_EPOCHS = 40, 10, 0.1, 24
LEVEL = Trial("activation", "channel", Level.parse("x4"))
# Predictions of draws, and of their mean network if there is one.
Row: TypeAlias = tuple[Predictions, Predictions | None]
FULL, QUICK = Extent(), Extent(test=300, ood=100, corrupted=20, draws=8, corrupted_draws=8)


def main(
    data_dir: Annotated[Path, typer.Option(help="Folder with CIFAR-10, and CIFAR-100 as cifar-100-ood.npz.")],
    runs: Annotated[Path, typer.Option(help="Folder of the runs, studies and logits.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile networks in training; needs a compiler.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A few images and one epoch.")] = False,
) -> None:
    """Train what is missing, evaluate and print the table."""
    commands = list(train(data_dir, runs, compiled, quick))
    rows = [
        {"row": name, "epochs": epochs(name), "figures": over_seeds(found)}
        for name, found in compare(data_dir, runs, compiled, QUICK if quick else FULL).items()
    ]
    own = TrainedRun.load(member_run(runs / "ivon", 0), data_dir)
    correlation = snr_and_magnitude(own.posterior)
    table = as_table(rows) + f"\n\nRank correlation of `snr` with `magnitude`, dense, seed 0: {correlation:.3f}."
    print(table)
    if json_file is not None:
        where = {"dataset": "cifar10", "architecture": "resnet20", **machine()}
        report = where | {"commands": commands, "snr_and_magnitude": correlation, "rows": rows}
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(f"{table}\n\n{where['text']}\n")
        plot(rows, json_file.with_suffix(".png"))


def train(data_dir: Path, runs: Path, compiled: bool, quick: bool) -> list[str]:
    """Train and prune what is missing; return the commands."""
    few = ["--limit", "1200"] if quick else []
    shared = ["--data", "cifar10", "--data-dir", str(data_dir), "--arch", "resnet20", "--members", str(MEMBERS)]
    fast = ["--compile"] if compiled else []

    def command(estimator: str, name: str, epochs: int, *flags: str) -> list[str]:
        own = ["--estimator", estimator, "--epochs", str(1 if quick else epochs), *flags]
        return ["train", *shared, *own, *few, *fast, "--out", str(runs / name), "--resume"]

    more = ["--init-from", str(runs / "plain"), "--lr", str(MORE_RATE)]
    commands = [
        command("none", "plain", PLAIN_EPOCHS),
        command("none", "plain-longer", MORE_EPOCHS, *more),
        command("ivon", "ivon", MORE_EPOCHS, *more),
    ]
    for member in range(MEMBERS):
        tuning = ["--epochs", str(1 if quick else PRUNING_EPOCHS), "--distillation", "0.5"]
        what = ["--criteria", LEVEL.criterion, "--granularities", LEVEL.granularity, "--levels", LEVEL.level.name]
        out = ["--controls", "none", "--out", str(studied(runs, member)), "--data-dir", str(data_dir)]
        commands.append(["study", str(member_run(runs / "ivon", member).folder), *what, *tuning, *out])
    for each in commands:
        subprocess.run([str(Path(sys.executable).with_name("slimbayes")), *each], check=True, stdout=sys.stderr)
    return [f"slimbayes {' '.join(each)}" for each in commands]


def epochs(row: str) -> int:
    """Return the epochs that each network of a row was trained for."""
    return PLAIN_EPOCHS + MORE_EPOCHS + ("x4" in row) * PRUNING_EPOCHS


def studied(runs: Path, member: int) -> Path:
    """Return the folder of a member's study."""
    return runs / "studies" / f"member-{member}"


def compare(data_dir: Path, runs: Path, compiled: bool, extent: Extent) -> dict[str, list[dict[str, float]]]:
    """Return the figures of every row, one a seed."""
    dataset = TrainedRun.load(member_run(runs / "ivon", 0), data_dir).dataset
    predictor = Predictor(dataset, extent, runs / "logits")
    ways: dict[str, list[Predictions]] = {}
    for member in range(MEMBERS):
        for way, found in of_member(predictor, data_dir, runs, member, compiled).items():
            ways.setdefault(way, []).append(found)
    plain, dense, small = ways["plain"], ways["dense"], ways["x4"]
    rows: dict[str, list[Row]] = {
        "plain, temperature": [(each, None) for each in plain[:SEEDS]],
        "MC dropout": [(each, None) for each in ways["dropout"][:SEEDS]],
        "ensemble of 4": [(mixture(plain), None)],
        "ours, dense: mean, one pass": [(each, None) for each in ways["dense mean"][:SEEDS]],
        "ours, dense": [(each, point) for each, point in zip(dense[:SEEDS], ways["dense mean"], strict=False)],
        "ours, 2 dense": [(mixture(dense[:2]), mixture(ways["dense mean"][:2]))],
        "ours, 4 dense": [(mixture(dense), mixture(ways["dense mean"]))],
        "ours, x4": [(each, point) for each, point in zip(small[:SEEDS], ways["x4 mean"], strict=False)],
        "ours, 4 at x4, 4 draws": [(mixture(small, MEMBERS), mixture(ways["x4 mean"]))],
        "ours, 4 at x4": [(mixture(small), mixture(ways["x4 mean"]))],
    }
    return {name: [figures(found, predictor, point) for found, point in row] for name, row in rows.items()}


def of_member(predictor: Predictor, data_dir: Path, runs: Path, member: int, compiled: bool) -> dict[str, Predictions]:
    """Return the predictions of all networks of one seed."""
    dataset = predictor.dataset
    trained = TrainedRun.load(member_run(runs / "ivon", member), data_dir, dataset)
    plain = TrainedRun.load(member_run(runs / "plain-longer", member), data_dir, dataset)
    small = TrialStore(studied(runs, member) / TRIALS).posterior(LEVEL)
    if small is None:
        raise typer.BadParameter(f"the study of member {member} is not finished", param_hint="--runs")
    networks = {
        "plain": fold_and_compact(plain.network(plain.posterior)),
        "dense": fold_and_compact(trained.network(trained.posterior)),
        "x4": fold_and_compact(trained.network(small)),
    }
    networks |= {f"{name} mean": posterior_mean(networks[name]) for name in ("dense", "x4")}
    found = {
        name: predictor.predict_network(f"{name.replace(' ', '-')}-{member}", network, trained.multiply_adds)
        for name, network in networks.items()
    }
    recipe = replace(plain.recipe, init_from=str(member_run(runs / "plain", member).folder))
    dropout = train_dropout(recipe, dataset, LoopOptions(compile=compiled), runs / f"dropout-{member}.safetensors")

    def draw(images_NHWC: Tensor, num_draws: int) -> Tensor:
        return dropout_logits(plain.architecture, dropout, dataset, images_NHWC, num_draws)

    return found | {"dropout": predictor.predict(f"dropout-{member}", draw, random=True, passes=1.0)}


def snr_and_magnitude(posterior: Posterior) -> float:
    """Return the rank correlation of two criteria over all random weights."""
    magnitudes, ratios = [], []
    for weight in posterior.weights.values():
        if not weight.deterministic:
            magnitudes.append(weight.mean.abs().flatten())
            ratios.append((weight.mean.abs() / weight.scale).flatten())
    return rank_correlation(torch.cat(magnitudes), torch.cat(ratios))


def as_table(rows: list[dict[str, Any]]) -> str:
    """Format the rows as Markdown."""
    lines = [
        "| | epochs | draws | dense passes | accuracy | NLL | ECE | draws gain over their mean, nats | AUROC H "
        "| AUROC MI | accuracy at 80 % | corrupted: accuracy | NLL | ECE |",
        "|---" + "|--:" * 13 + "|",
    ]
    for row in rows:
        found = row["figures"]
        gain, information = found.get("nll_gain"), found.get("auroc_mutual_information")
        beside = "" if gain is None else f"{gain['mean']:.4f} ± {found['nll_gain_error']['mean']:.4f}"
        lines.append(
            f"| {row['row']} | {row['epochs']} | {found['draws']['mean']:.0f} | {found['passes']['mean']:.2f} "
            f"| {percent(found['accuracy'])} | {number(found['nll'])} | {number(found['ece'])} | {beside} "
            f"| {number(found['auroc_entropy'])} | {'' if information is None else number(information)} "
            f"| {percent(found['accuracy_at_coverage'])} | {percent(found['corrupted_accuracy'])} "
            f"| {number(found['corrupted_nll'])} | {number(found['corrupted_ece'])} |"
        )
    return "\n".join(lines)


def percent(figure: dict[str, float]) -> str:
    """Format a share with its deviation over seeds, if there are several."""
    return f"{figure['mean']:.2%}" + (f" ± {figure['std']:.2%}" if figure["std"] else "")


def number(figure: dict[str, float]) -> str:
    """Format a number likewise."""
    return f"{figure['mean']:.4f}" + (f" ± {figure['std']:.4f}" if figure["std"] else "")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot NLL over cost, and over the strength of corruptions."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    strengths = range(1, 6)
    for row, colour in zip(rows, plt.get_cmap("tab10").colors, strict=False):  # type: ignore[attr-defined]
        found = row["figures"]
        left.scatter(found["passes"]["mean"], found["nll"]["mean"], color=colour)
        nlls = [found[f"corrupted_nll_{strength}"]["mean"] for strength in strengths]
        right.plot(strengths, nlls, color=colour, label=row["row"])
    left.set_xscale("log")
    left.set_xlabel("cost of an answer, dense passes")
    left.set_title("NLL on test images, nats", loc="left", fontsize=10)
    right.set_xlabel("strength of corruptions")
    right.set_title("NLL on corrupted images, nats", loc="left", fontsize=10)
    right.legend(frameon=False, fontsize=8)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
