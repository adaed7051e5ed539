"""Measure the quality of every level on the digits' test split, as mean and standard deviation over seeds.

    python -m benchmarks.pruning.digits --json docs/results/digits.json

Runs the commands that a user would type. Writes the JSON and, beside it, a Markdown table. `--quick` takes one seed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import typer

from model_store.manifest import Level
from model_store.store import Store

LEVELS = "p50,p80,p90,p95"
NUM_DRAWS = 32
COLUMNS = (
    *("sparsity", "bytes", "multiply_adds", "accuracy", "nll", "ece", "mean_nll", "nll_gain"),
    *("ood_auroc_noise", "ood_auroc_crops"),
)


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One seed instead of three.")] = False,
    granularity: Annotated[str, typer.Option(help="Pruning granularity: channel or weight.")] = "channel",
) -> None:
    """Train, prune and evaluate digits for each seed, and print the table."""
    seeds = [0] if quick else [0, 1, 2]
    figures = {seed: run(seed, granularity) for seed in seeds}
    rows = [summary(name, [figures[seed][name] for seed in seeds]) for name in figures[seeds[0]]]
    report = {
        "dataset": "digits",
        "split": "test",
        "granularity": granularity,
        "seeds": seeds,
        "draws": NUM_DRAWS,
        "rows": rows,
    }
    table = as_table(rows)
    print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")


def run(seed: int, granularity: str) -> dict[str, dict[str, float]]:
    """Train, prune and publish with one seed; return figures by level."""
    with tempfile.TemporaryDirectory() as folder:
        out, store = Path(folder) / "run", Path(folder) / "store"
        command("training", "--data", "digits", "--seed", str(seed), "--out", str(out))
        flags = ("--levels", LEVELS, "--granularity", granularity, "--draws", str(NUM_DRAWS))
        command("pruning", str(out), *flags, "--store", str(store))
        opened = Store.open(store)
        manifest = opened.manifest("digits-convnet", opened.resolve("digits-convnet"))
        return {level.name: figures_of(level) for level in manifest.levels}


def command(package: str, *arguments: str) -> None:
    """Run a package's command with its progress on standard error."""
    subprocess.run([sys.executable, "-m", package, *arguments], check=True, stdout=sys.stderr)


def figures_of(level: Level) -> dict[str, float]:
    """Return the columns of one level's row."""
    flat: dict[str, Any] = level.model_dump() | level.metrics.model_dump()
    mean_network = level.mean_network
    assert mean_network is not None
    flat |= {"mean_nll": mean_network.nll, "nll_gain": mean_network.nll_gain}
    flat |= {f"ood_auroc_{name}": value for name, value in level.metrics.ood_auroc.items()}
    return {column: flat[column] for column in COLUMNS}


def summary(name: str, of_seeds: list[dict[str, float]]) -> dict[str, Any]:
    """Return mean and standard deviation over seeds."""
    values = {column: [figures[column] for figures in of_seeds] for column in COLUMNS}
    means = {column: mean(each) for column, each in values.items()}
    return {"level": name, **means, "std": {c: stdev(v) if len(v) > 1 else 0.0 for c, v in values.items()}}


def as_table(rows: list[dict[str, Any]]) -> str:
    """Format the rows as Markdown."""
    lines = [
        "| level | sparsity | bytes | multiply-adds | accuracy | NLL | ECE | NLL of the mean "
        "| draws gain, nats | AUROC noise | AUROC crops |",
        "|---" + "|--:" * 10 + "|",
    ]
    for row in rows:
        std = row["std"]
        lines.append(
            f"| {row['level']} | {row['sparsity']:.1%} | {row['bytes']:,.0f} | {row['multiply_adds']:,.0f} "
            f"| {row['accuracy']:.2%} ± {std['accuracy']:.2%} | {row['nll']:.4f} ± {std['nll']:.4f} "
            f"| {row['ece']:.4f} ± {std['ece']:.4f} | {row['mean_nll']:.4f} ± {std['mean_nll']:.4f} "
            f"| {row['nll_gain']:.4f} ± {std['nll_gain']:.4f} "
            f"| {row['ood_auroc_noise']:.3f} ± {std['ood_auroc_noise']:.3f} "
            f"| {row['ood_auroc_crops']:.3f} ± {std['ood_auroc_crops']:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
