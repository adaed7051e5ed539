"""Training on two hosts behind a cable of several bandwidths, beside what the model of `benchmarks.scaling` predicts.

    python -m benchmarks.two_hosts --json docs/results/two_hosts.json

The hosts are network namespaces with one cable between them (`benchmarks.network`), a core each, and a thread for the
one rank on each; torchrun starts them as it does on two machines. Of the unshaped cable's message sweep the prediction
takes the latency and the time per byte, of a shaped one nothing but the bandwidth that was asked for. Its compute times
are those of two ranks side by side that share nothing. Steps that the ranks take together are what it is checked
against.
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

from benchmarks.network import ADDRESSES, CABLE, Host, two_hosts
from benchmarks.scaling import Ring, step_milliseconds, typical
from benchmarks.scaling_worker import LARGEST
from training.bayesian.estimators.ivon import HESSIAN_EVERY

mpl.use("Agg")
from matplotlib import pyplot as plt

PORT = 29400
# Of a shaped cable: enough to see its bandwidth, without waiting minutes for it.
FEW_BYTES = 8 * 4**9


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    arch: Annotated[str, typer.Option(help="Architecture.")] = "resnet20",
    estimator: Annotated[str, typer.Option(help="Estimator.")] = "ivon",
    batch_size: Annotated[int, typer.Option(help="Images of a step on each host.")] = 64,
    megabits: Annotated[str, typer.Option(help="Bandwidths in Mbit/s, separated by commas.")] = "1000,300,100,50,25",
    blocks: Annotated[int, typer.Option(help="Turns.")] = 3,
) -> None:
    """Measure, predict, and print the table."""
    with tempfile.TemporaryDirectory() as folder, two_hosts(Path(folder)) as hosts:
        found = [measured(hosts, Path(folder), arch, estimator, batch_size, blocks, LARGEST)]
        rates = [float(rate) for rate in megabits.split(",")]
        for rate in track(rates, "Measuring"):
            for host in hosts:
                host.shape(rate)
            found.append(measured(hosts, Path(folder), arch, estimator, batch_size, blocks, FEW_BYTES))
    free = _ring(found[0])
    rows = [_row(None, times, free, estimator) for times in found[:1]]
    for rate, times in zip(rates, found[1:], strict=True):
        ring = Ring(free.latency, max(free.per_byte, 8e-3 / rate))
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
    """What the two ranks of one torchrun measure, each on its host."""
    out = folder / "found.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    command += ["--max-restarts", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{next(iter(ADDRESSES))}:{PORT}"]
    command += ["-m", "benchmarks.scaling_worker", str(out), "--arch", arch, "--estimators", estimator]
    command += ["--batch-size", str(batch_size), "--blocks", str(blocks), "--steps", str(HESSIAN_EVERY)]
    command += ["--largest", str(largest)]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": CABLE, "OMP_NUM_THREADS": "1"}
    cores = sorted(os.sched_getaffinity(0))
    started = [
        subprocess.Popen(["taskset", "--cpu-list", str(core), *host.command(*command)], env=environment)
        for host, core in zip(hosts, cores, strict=False)
    ]
    if any(each.wait() for each in started):
        raise SystemExit("a host's torchrun failed: what it said is above")
    return dict(json.loads(out.read_bytes()))


def _ring(found: dict[str, Any]) -> Ring:
    return Ring.fitted({int(size): milliseconds for size, milliseconds in found["sweep"].items()})


def _row(rate: float | None, found: dict[str, Any], ring: Ring, estimator: str) -> dict[str, Any]:
    """One bandwidth: what was measured, and what the model says."""
    times = found["estimators"][estimator]
    together = typical(times, "together")
    predicted = step_milliseconds(times["side_by_side"], times, ring, 2)
    return {
        "megabits": rate,
        "seen_megabits": 8e-3 / _ring(found).per_byte,
        "alone_ms": typical(times, "alone"),
        "side_by_side_ms": typical(times, "side_by_side"),
        "together_ms": together,
        "predicted_ms": predicted,
        "error": predicted / together - 1,
        "efficiency": typical(times, "alone") / together,
        "gradient_bytes": times["gradient_bytes"],
    }


def as_table(report: dict[str, Any]) -> str:
    """In Markdown."""
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
    """Milliseconds of a step over bandwidth: what was measured as points, the model as a line."""
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
