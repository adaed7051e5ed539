"""Compare gradient reductions: the bytes that rounding saves, and the quality that it costs.

    python -m benchmarks.training.reduction --json docs/results/reduction.json

Two ranks of one thread each train the digits by each estimator and reduction (`training.distributed.gradient_sync`),
with several seeds (`benchmarks.training.reduction_worker`). Bytes are those that one rank passes to all-reduces of
gradients in a step, relative to the plain network's in float32; IVON's second all-reduce is added by its share of a
step. Quality is measured with 32 draws on the test split. Writes the JSON and, beside it, a table. `--quick` takes one
seed and a third of the epochs.
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

from training.distributed.gradient_sync import REDUCTIONS

COMBINATIONS = [
    ("none", "float32"),
    *(("flipout", reduction) for reduction in REDUCTIONS),
    ("ivon", "float32"),
    ("ivon", "bfloat16"),
]
# `mean_nll` is of one pass of the posterior mean at its own temperature, `nll_gain` what draws gain over it at theirs.
FIGURES = ("accuracy", "nll", "ece", "mean_nll", "nll_gain")


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One seed and fewer epochs.")] = False,
) -> None:
    """Train each combination with each seed, and print the table."""
    seeds, epochs = ([0], 8) if quick else ([0, 1, 2, 3, 4], 25)
    found = trained(seeds, epochs)
    rows = [row(*combination, found) for combination in COMBINATIONS]
    plain = rows[0]["bytes_per_step"]
    for each in rows:
        each["bytes_to_plain"] = each["bytes_per_step"] / plain
    table = as_table(rows)
    print(table)
    if json_file is not None:
        report = {"dataset": "digits", "ranks": 2, "epochs": epochs, "seeds": seeds, "draws": 32, "rows": rows}
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")


def trained(seeds: list[int], epochs: int) -> list[dict[str, Any]]:
    """Train every combination on two ranks of this machine; return their figures."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command += ["-m", "benchmarks.training.reduction_worker", str(out), "--epochs", str(epochs)]
        command += ["--seeds", ",".join(map(str, seeds))]
        command += ["--combinations", ",".join("/".join(each) for each in COMBINATIONS)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return list(json.loads(out.read_bytes()))


def row(estimator: str, reduction: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means and standard deviations over seeds of one combination."""
    of_it = [each for each in found if (each["estimator"], each["reduction"]) == (estimator, reduction)]
    figures: dict[str, Any] = {"estimator": estimator, "reduction": reduction}
    figures["bytes_per_step"] = mean(each["bytes_per_step"] for each in of_it)
    for name in FIGURES:
        values = [each[name] for each in of_it]
        figures[name], figures[f"{name}_std"] = mean(values), stdev(values) if len(values) > 1 else 0.0
    return figures


def as_table(rows: list[dict[str, Any]]) -> str:
    """Format the rows as Markdown."""
    lines = [
        "| estimator | reduction | bytes a step | against plain | accuracy | NLL | ECE "
        "| NLL of the mean, at T | draws gain, nats |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in rows:
        lines.append(
            f"| {each['estimator']} | {each['reduction']} | {each['bytes_per_step']:,.0f} "
            f"| {each['bytes_to_plain']:.2f} | {each['accuracy']:.2%} ± {each['accuracy_std']:.2%} "
            f"| {each['nll']:.4f} ± {each['nll_std']:.4f} | {each['ece']:.4f} ± {each['ece_std']:.4f} "
            f"| {each['mean_nll']:.4f} ± {each['mean_nll_std']:.4f} "
            f"| {each['nll_gain']:.4f} ± {each['nll_gain_std']:.4f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
