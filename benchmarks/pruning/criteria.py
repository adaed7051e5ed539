"""Compare pruning criteria on the digits, as mean and standard deviation over seeds.

    python -m benchmarks.pruning.criteria --json docs/results/criteria.json

Trains the digits with each seed and runs `slimbayes study` on each run; quality is measured with 32 draws on the test
split. Writes the JSON and, beside it, a table of accuracy and a comparison of the criteria. `--quick` takes one seed,
two levels, four draws and no fine-tuning.
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

LEVELS = ("p50", "p80", "p90", "p95")
FIGURES = ("accuracy", "nll", "ece")
Key = tuple[str, str, str]


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One seed, two levels, no fine-tuning.")] = False,
    epochs: Annotated[int, typer.Option(help="Epochs of fine-tuning at each level.")] = 2,
) -> None:
    """Run the study of each seed, and print the table."""
    seeds, levels, epochs = ([0], ("p80", "p95"), 0) if quick else ([0, 1, 2], LEVELS, epochs)
    draws = 4 if quick else 32
    found = [study(seed, levels, epochs, draws, 8 if quick else 30) for seed in seeds]
    rows = [summary(key, [of_seed[key] for of_seed in found]) for key in found[0]]
    table = as_table(rows, levels) + "\n\n" + "\n".join(f"- {line}" for line in verdicts(rows, levels))
    print(table)
    if json_file is not None:
        report = {"dataset": "digits", "split": "test", "seeds": seeds, "draws": draws, "epochs": epochs, "rows": rows}
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")


def study(
    seed: int, levels: tuple[str, ...], epochs: int, draws: int, training_epochs: int
) -> dict[Key, dict[str, float]]:
    """Run the study of one seed; return figures by granularity, criterion and level."""
    with tempfile.TemporaryDirectory() as folder:
        run, out = Path(folder) / "run", Path(folder) / "study"
        train = ["training", "--data", "digits", "--seed", str(seed), "--epochs", str(training_epochs)]
        command(*train, "--out", str(run))
        program = "from pruning.cli.study import app; app()"
        flags = ["--out", str(out), "--levels", ",".join(levels), "--epochs", str(epochs), "--draws", str(draws)]
        subprocess.run([sys.executable, "-c", program, str(run), *flags], check=True, stdout=sys.stderr)
        rows: list[dict[str, Any]] = json.loads((out / "table.json").read_bytes())["rows"]
    return {(row["granularity"], row["criterion"], row["level"]): {name: row[name] for name in FIGURES} for row in rows}


def command(package: str, *arguments: str) -> None:
    """Run a package's command with its progress on standard error."""
    subprocess.run([sys.executable, "-m", package, *arguments], check=True, stdout=sys.stderr)


def summary(key: Key, of_seeds: list[dict[str, float]]) -> dict[str, Any]:
    """Return mean and standard deviation over seeds."""
    values = {name: [figures[name] for figures in of_seeds] for name in FIGURES}
    own: dict[str, Any] = dict(zip(("granularity", "criterion", "level"), key, strict=True))
    own |= {name: mean(each) for name, each in values.items()}
    return own | {"std": {name: stdev(each) if len(each) > 1 else 0.0 for name, each in values.items()}}


def as_table(rows: list[dict[str, Any]], levels: tuple[str, ...]) -> str:
    """Format accuracy by criterion and level as Markdown."""
    by = {(row["granularity"], row["criterion"], row["level"]): row for row in rows}
    lines = [f"| granularity | criterion | {' | '.join(levels)} |", f"|---|---|{'--:|' * len(levels)}"]
    dense = by["none", "none", "dense"]
    lines.append(f"| – | dense | {' | '.join([_cell(dense)] * len(levels))} |")
    for granularity, criterion in dict.fromkeys((row["granularity"], row["criterion"]) for row in rows[1:]):
        cells = [_cell(by[granularity, criterion, level]) for level in levels]
        lines.append(f"| {granularity} | {criterion} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    return f"{row['accuracy']:.2%} ± {row['std']['accuracy']:.2%}"


def verdicts(rows: list[dict[str, Any]], levels: tuple[str, ...]) -> list[str]:
    """State at which levels each criterion has a higher mean accuracy than each control."""
    by = {(row["granularity"], row["criterion"], row["level"]): row["accuracy"] for row in rows}
    lines = []
    for granularity in ("weight", "channel"):
        for ours in ("activation", "gate_fisher", "snr", "free_energy"):
            for control in ("magnitude", "random"):
                better = [name for name in levels if by[granularity, ours, name] > by[granularity, control, name]]
                said = f"at {', '.join(better)}" if better else "at no level"
                lines.append(f"{granularity}: {ours} is more accurate than {control} {said}, of {', '.join(levels)}.")
    return lines


if __name__ == "__main__":
    typer.run(main)
