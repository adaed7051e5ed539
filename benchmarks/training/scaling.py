"""Measure how training scales on one and two ranks, and model it beyond.

    python -m benchmarks.training.scaling --json docs/results/scaling.json

Two ranks of one thread each take turns (`benchmarks.training.scaling_worker`), so that the times of every ratio are
taken side by side. A step over n ranks is modelled as

    max of n compute times + Σ over messages of 2 (n − 1) a + 2 (n − 1)/n · bytes · b

with compute times drawn from the measured ones, and latency a and time per byte b of a ring all-reduce fitted to a
sweep of message sizes. The steps that the ranks take together are not fitted: the model is checked against them, with
compute times of two ranks side by side on this host, and its error is stated. Every row is marked as measured or
modelled. Modelled rows are of separate hosts, so compute is that of a rank alone; their network is the one swept, a
loopback by default; `--latency-us` and `--gigabytes-per-second` choose another. Beyond as many nodes as measured steps,
the slowest rank is the slowest measured step, which is optimistic; the exchange of normalisation statistics, some
kilobytes per step, is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import typer
from scipy.optimize import nnls

from training.bayesian.estimators.ivon import HESSIAN_EVERY_STEPS

mpl.use("Agg")
from matplotlib import pyplot as plt

NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
# Buckets of DistributedDataParallel: the first is of 1 MiB, the others of 25.
BUCKET_BYTES = 25 * 2**20


@dataclass(frozen=True)
class Ring:
    """Cost model of a ring all-reduce: latency of one message to the next rank, and time per byte."""

    latency_ms: float
    ms_per_byte: float

    @classmethod
    def fitted(cls, sweep: dict[int, float]) -> Ring:
        """Fit to medians in ms by bytes between two ranks, by least squares of relative errors."""
        sizes, times = np.array(list(sweep), float), np.array(list(sweep.values()))
        terms = np.stack([np.full_like(sizes, 2.0), sizes], 1) / times[:, None]
        latency_ms, ms_per_byte = nnls(terms, np.ones_like(times))[0]
        return cls(float(latency_ms), float(ms_per_byte))

    def milliseconds(self, nodes: int, size: float) -> float:
        """Return the milliseconds of one all-reduce of `size` bytes."""
        return 0.0 if nodes == 1 else 2 * (nodes - 1) * (self.latency_ms + size / nodes * self.ms_per_byte)


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer steps: the same ratios with more noise.")] = False,
    arch: Annotated[str, typer.Option(help="Architecture.")] = "resnet20",
    estimators: Annotated[str, typer.Option(help="Estimators, separated by commas.")] = "none,ivon,flipout",
    batch_size: Annotated[int, typer.Option(help="Images per step on each rank.")] = 128,
    latency_us: Annotated[float | None, typer.Option(help="Latency of the modelled network.")] = None,
    gigabytes_per_second: Annotated[float | None, typer.Option(help="Bandwidth of the modelled network.")] = None,
) -> None:
    """Measure, model, and print the table."""
    names = "none,ivon" if quick else estimators
    blocks, steps = (3, 2) if quick else (5, HESSIAN_EVERY_STEPS)
    found = measured(arch, names, batch_size, blocks, steps)
    swept = Ring.fitted({int(size): ms for size, ms in found["sweep"].items()})
    ring = Ring(
        swept.latency_ms if latency_us is None else latency_us / 1e3,
        swept.ms_per_byte if gigabytes_per_second is None else 1 / (1e6 * gigabytes_per_second),
    )
    headline = "ivon" if "ivon" in found["estimators"] else next(iter(found["estimators"]))
    rows: list[dict[str, Any]] = []
    errors: dict[str, float] = {}
    for name, times in found["estimators"].items():
        predicted = step_milliseconds(times["side_by_side"], times, swept, 2)
        errors[name] = predicted / typical(times, "together") - 1
        rows += measured_rows(name, times) + modelled_rows(name, times, found["by_batch_ms"], ring, batch_size)
    report = {
        "arch": arch,
        "batch_size": batch_size,
        "threads_per_rank": 1,
        "weak_scaling_efficiency": {"2": efficiency(found["estimators"][headline])},
        "weak_scaling_efficiency_by_estimator": {n: efficiency(t) for n, t in found["estimators"].items()},
        "model_error": errors[headline],
        "model_error_by_estimator": errors,
        "ring": {"latency_us": 1e3 * ring.latency_ms, "gigabytes_per_second": 1e-6 / max(ring.ms_per_byte, 1e-12)},
        "sweep_ms": found["sweep"],
        "rows": rows,
    }
    table = as_table(report)
    print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")
        plot(report, json_file.with_suffix(".png"))


def measured(arch: str, estimators: str, batch_size: int, blocks: int, steps: int) -> dict[str, Any]:
    """Run the worker on two ranks of this machine; return its measurements."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command += ["-m", "benchmarks.training.scaling_worker", str(out), "--arch", arch, "--estimators", estimators]
        command += ["--batch-size", str(batch_size), "--blocks", str(blocks), "--steps", str(steps)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return dict(json.loads(out.read_bytes()))


def efficiency(times: dict[str, Any]) -> float:
    """Return the time of a step alone over a step of two ranks, at equal images per rank; 1 is ideal."""
    return typical(times, "alone") / typical(times, "together")


def typical(times: dict[str, Any], kind: str) -> float:
    """Return the milliseconds of a step: the median over turns of their means, which include IVON's tenth step."""
    return float(np.median(np.array(times[kind]).reshape(-1, times["steps_per_turn"]).mean(1)))


def step_milliseconds(compute: list[float], times: dict[str, Any], ring: Ring, nodes: int) -> float:
    """Model a step as the slowest of `nodes` draws of the compute times, then all its messages."""
    ordered = np.sort(np.array(compute))
    # The exact expectation of the maximum of n draws with replacement.
    shares = np.arange(len(ordered) + 1) / len(ordered)
    slowest = float((ordered * np.diff(shares**nodes)).sum())
    buckets = max(1, -(-int(times["parameter_bytes"]) // BUCKET_BYTES))
    messages = [times["gradient_bytes"] / buckets] * buckets
    messages += [12.0]  # loss, accuracy, divergence
    if times["hessian_bytes"]:
        messages += [times["hessian_bytes"]]
    return slowest + sum(ring.milliseconds(nodes, size) for size in messages)


def measured_rows(name: str, times: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of one rank and of two."""
    common = {"kind": "measured", "scaling": "weak", "estimator": name}
    one = {"nodes": 1, "step_ms": typical(times, "alone"), "compute_ms": typical(times, "alone"), "efficiency": 1.0}
    two = {
        "nodes": 2,
        "step_ms": typical(times, "together"),
        "compute_ms": typical(times, "side_by_side"),
        "wait_ms": mean(times["wait"]),
        "transfer_ms": median(times["transfer"]),
        "efficiency": efficiency(times),
    }
    gradient_bytes = {"gradient_bytes": times["gradient_bytes"], "hessian_bytes": times["hessian_bytes"]}
    return [common | one, common | two | gradient_bytes]


def modelled_rows(
    name: str, times: dict[str, Any], by_batch: dict[str, list[float]], ring: Ring, batch_size: int
) -> list[dict[str, Any]]:
    """Model weak scaling (constant images per rank) and strong scaling (as many images in total as on 8 ranks)."""
    rows = []
    single = typical(times, "alone")
    sizes = np.array([float(size) for size in by_batch])
    fixed, slope = nnls(np.stack([np.ones_like(sizes), sizes], 1), [median(each) for each in by_batch.values()])[0]
    whole = 8 * batch_size

    def relative(images: float) -> float:
        """Return the compute time of a batch relative to that of the measured size."""
        return float((fixed + slope * images) / (fixed + slope * batch_size))

    for nodes in NODES:
        step = step_milliseconds(times["alone"], times, ring, nodes)
        row = {"kind": "modelled", "scaling": "weak", "estimator": name, "nodes": nodes, "step_ms": step}
        rows.append(row | {"efficiency": single / step})
    for nodes in (n for n in NODES if n <= whole):
        share = relative(whole / nodes)
        step = step_milliseconds([share * each for each in times["alone"]], times, ring, nodes)
        row = {"kind": "modelled", "scaling": "strong", "estimator": name, "nodes": nodes, "step_ms": step}
        rows.append(row | {"efficiency": single * relative(whole) / (nodes * step)})
    return rows


def as_table(report: dict[str, Any]) -> str:
    """Format measured and modelled rows as Markdown."""
    lines = [
        f"{report['arch']}, {report['batch_size']} images a rank, one thread a rank. "
        f"Ring: {report['ring']['latency_us']:,.0f} µs, {report['ring']['gigabytes_per_second']:.2f} GB/s. "
        "The model's error on two ranks: "
        + ", ".join(f"{name} {error:+.1%}" for name, error in report["model_error_by_estimator"].items())
        + ".",
        "",
        "| estimator | scaling | nodes | kind | step, ms | compute | wait | transfer | efficiency |",
        "|---|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for row in report["rows"]:
        apart = [f"{row[key]:,.1f}" if key in row else "" for key in ("compute_ms", "wait_ms", "transfer_ms")]
        lines.append(
            f"| {row['estimator']} | {row['scaling']} | {row['nodes']:,} | {row['kind']} | {row['step_ms']:,.1f} "
            f"| {' | '.join(apart)} | {row['efficiency']:.1%} |"
        )
    return "\n".join(lines)


def plot(report: dict[str, Any], path: Path) -> None:
    """Plot weak and strong scaling efficiency over nodes: lines are modelled, points measured."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
    colours = dict(zip(report["model_error_by_estimator"], ("#555555", "#0072b2", "#d55e00", "#009e73"), strict=False))
    for axis, scaling in zip(axes, ("weak", "strong"), strict=True):
        for name, colour in colours.items():
            of_name = [row for row in report["rows"] if (row["estimator"], row["scaling"]) == (name, scaling)]
            modelled = [row for row in of_name if row["kind"] == "modelled"]
            axis.plot(
                [row["nodes"] for row in modelled], [row["efficiency"] for row in modelled], color=colour, label=name
            )
            points = [row for row in of_name if row["kind"] == "measured"]
            axis.plot([row["nodes"] for row in points], [row["efficiency"] for row in points], "o", color=colour)
        axis.set_xscale("log", base=2)
        axis.set_xlabel("nodes")
        axis.set_ylim(0, 1.05)
        axis.set_title(f"{scaling} scaling: lines modelled, points measured", loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("efficiency")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
