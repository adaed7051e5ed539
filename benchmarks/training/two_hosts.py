"""Measure training on two hosts at several bandwidths, and check the model of `benchmarks.training.scaling`.

    python -m benchmarks.training.two_hosts --json docs/results/two_hosts.json

The hosts are network namespaces with one link between them (`benchmarks.harness.network_namespaces`), with one core,
one rank and one thread each; torchrun starts them as on two machines. The prediction takes latency and time per byte
from the unshaped link's message sweep, and from a shaped link only the requested bandwidth. Its compute times are those
of two ranks side by side without synchronisation. It is checked against the steps that the ranks take together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import typer
from rich.progress import track

from benchmarks.harness.network_namespaces import ADDRESSES, INTERFACE, Host, two_hosts
from benchmarks.training.scaling import Ring, step_milliseconds, typical
from benchmarks.training.scaling_worker import LARGEST_BYTES
from training.bayesian.estimators.ivon import HESSIAN_EVERY_STEPS

mpl.use("Agg")
from matplotlib import pyplot as plt

PORT = 29400
# Enough to measure a shaped link's bandwidth without waiting for minutes.
SHAPED_LARGEST_BYTES = 8 * 4**9


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    arch: Annotated[str, typer.Option(help="Architecture.")] = "resnet20",
    estimator: Annotated[str, typer.Option(help="Estimator.")] = "ivon",
    batch_size: Annotated[int, typer.Option(help="Images per step on each host.")] = 64,
    megabits: Annotated[str, typer.Option(help="Bandwidths in Mbit/s, separated by commas.")] = "1000,300,100,50,25",
    blocks: Annotated[int, typer.Option(help="Turns.")] = 3,
) -> None:
    """Measure, predict, and print the table."""
    with tempfile.TemporaryDirectory() as folder, two_hosts(Path(folder)) as hosts:
        found = [measured(hosts, Path(folder), arch, estimator, batch_size, blocks, LARGEST_BYTES)]
        rates = [float(rate) for rate in megabits.split(",")]
        for rate in track(rates, "Measuring"):
            for host in hosts:
                host.shape(rate)
            found.append(measured(hosts, Path(folder), arch, estimator, batch_size, blocks, SHAPED_LARGEST_BYTES))
    free = _ring(found[0])
    rows = [_row(None, times, free, estimator) for times in found[:1]]
    for rate, times in zip(rates, found[1:], strict=True):
        ring = Ring(free.latency_ms, max(free.ms_per_byte, 8e-3 / rate))
        rows.append(_row(rate, times, ring, estimator))
    report = {"arch": arch, "estimator": estimator, "batch_size": batch_size, "threads_per_rank": 1, "rows": rows}
    table = as_table(report)
    print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")
        plot(report, json_file.with_suffix(".png"))


def measured(
    hosts: list[Host], folder: Path, arch: str, estimator: str, batch_size: int, blocks: int, largest: int
) -> dict[str, Any]:
    """Run one torchrun with a rank on each host; return its measurements."""
    out = folder / "found.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    command += ["--max-restarts", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{next(iter(ADDRESSES))}:{PORT}"]
    command += ["-m", "benchmarks.training.scaling_worker", str(out), "--arch", arch, "--estimators", estimator]
    command += ["--batch-size", str(batch_size), "--blocks", str(blocks), "--steps", str(HESSIAN_EVERY_STEPS)]
    command += ["--largest", str(largest)]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": INTERFACE, "OMP_NUM_THREADS": "1"}
    cores = sorted(os.sched_getaffinity(0))
    started = [
        subprocess.Popen(["taskset", "--cpu-list", str(core), *host.command(*command)], env=environment)
        for host, core in zip(hosts, cores, strict=False)
    ]
    if any(each.wait() for each in started):
        raise SystemExit("torchrun failed on a host: its output is above")
    return dict(json.loads(out.read_bytes()))


def _ring(found: dict[str, Any]) -> Ring:
    return Ring.fitted({int(size): milliseconds for size, milliseconds in found["sweep"].items()})


def _row(rate: float | None, found: dict[str, Any], ring: Ring, estimator: str) -> dict[str, Any]:
    """Return the measured and the predicted figures at one bandwidth."""
    times = found["estimators"][estimator]
    together = typical(times, "together")
    predicted = step_milliseconds(times["side_by_side"], times, ring, 2)
    return {
        "megabits": rate,
        "seen_megabits": 8e-3 / _ring(found).ms_per_byte,
        "alone_ms": typical(times, "alone"),
        "side_by_side_ms": typical(times, "side_by_side"),
        "together_ms": together,
        "predicted_ms": predicted,
        "error": predicted / together - 1,
        "efficiency": typical(times, "alone") / together,
        "gradient_bytes": times["gradient_bytes"],
    }


def as_table(report: dict[str, Any]) -> str:
    """Format the rows as Markdown."""
    lines = [
        f"{report['arch']}, {report['estimator']}, {report['batch_size']} images a host, one thread each; "
        f"{report['rows'][0]['gradient_bytes']:,} bytes of gradients a step.",
        "",
        "| cable, Mbit/s | seen | step alone, ms | together | predicted | error | efficiency |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in report["rows"]:
        rate = "unshaped" if row["megabits"] is None else f"{row['megabits']:,.0f}"
        lines.append(
            f"| {rate} | {row['seen_megabits']:,.0f} | {row['alone_ms']:,.1f} | {row['together_ms']:,.1f} "
            f"| {row['predicted_ms']:,.1f} | {row['error']:+.1%} | {row['efficiency']:.1%} |"
        )
    return "\n".join(lines)


def plot(report: dict[str, Any], path: Path) -> None:
    """Plot milliseconds of a step over bandwidth: points are measured, the line is the model."""
    figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
    rows = [row for row in report["rows"] if row["megabits"] is not None]
    rates = [row["megabits"] for row in rows]
    axis.plot(rates, [row["predicted_ms"] for row in rows], color="#0072b2", label="model, from the bandwidth alone")
    axis.plot(rates, [row["together_ms"] for row in rows], "o", color="#d55e00", label="two hosts, measured")
    axis.plot(rates, [row["alone_ms"] for row in rows], ":", color="#555555", label="one host, measured")
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("Mbit/s of the cable between the hosts")
    axis.set_ylabel("ms a step")
    axis.set_title(f"{report['arch']}, {report['estimator']}, two hosts", loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
