"""Attack a service that has the memory and processors of a container: is it killed, and what do its other clients see?

    python -m benchmarks.serving.hostile_load --json docs/results/hostile_load.json

`slimbayes serve` with the zoo and default settings runs in a control group of 1 GiB and 2 CPUs, as the chart gives it,
and in one of 512 MiB and 1 CPU, as compose does. First every attack of `tests/support/hostile` runs alone, in turn; a
service that is killed is started again. Then 200 random mixtures of them run over 16 connections for a minute.
Beside them two processes at a higher priority ask: one for small pictures, one for `/livez`. The latency of what is not
answered counts as well. Attacks share the machine at the lowest priority, so that latencies are upper bounds.

Needs root. The plot shows each attack's longest wait for `/livez` and its peak of resident memory.
"""

from __future__ import annotations

import json
import os
import random
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from benchmarks.harness.control_groups import ControlGroup, ControlGroupError, control_group
from benchmarks.harness.limited_service import LimitedService
from benchmarks.harness.machine import machine
from benchmarks.harness.probe import Probe, probing
from service.settings import Settings
from tests.support.hostile.bodies import LEVELS, PICTURE
from tests.support.hostile.connections import ATTACKS, Address
from tests.support.http import PNG

MIB = 2**20
# Memory in MiB and processors: the chart's and compose's.
SIZES = ((1024, 2.0), (512, 1.0))
CONNECTIONS, MIXTURES, ATTACKS_PER_MIXTURE = 16, 200, 3
SMALL_INTERVAL_S, LIVE_INTERVAL_S = 0.05, 0.02
# The last is longer than draws that one client asked for are kept.
PAUSE_S, SETTLE_S = 0.3, 75.0
LOWEST_PRIORITY = 19
RESIDENT_KEYS = ("resident_mib_before", "resident_mib_peak", "resident_mib_after")
# What must hold: milliseconds, ratio of the 99th percentiles, and share of resident memory.
LIVE_P99_MS, SMALL_P99_RATIO, RESIDENT_RATIO, METRICS_RATIO = 50.0, 3.0, 1.1, 0.1


@contextmanager
def beside(service: LimitedService) -> Iterator[tuple[Probe, Probe]]:
    """Ask for small pictures and for `/livez` meanwhile."""
    png = {"Content-Type": "image/png"}
    with (
        probing(service.url, "/livez", LIVE_INTERVAL_S) as live,
        probing(service.url, "/predict", SMALL_INTERVAL_S, PICTURE, png) as small,
    ):
        time.sleep(1.0)  # until both ask
        yield live, small


def attack(name: str, address: Address, max_bytes: int) -> Counter[str]:
    """Run one attack; count the statuses that it saw, or the error that ended it."""
    try:
        return Counter(map(str, ATTACKS[name](address, max_bytes))) or Counter(["none"])
    except OSError as error:
        return Counter([type(error).__name__])


def alone(service: LimitedService, seconds: float) -> float:
    """Return the 99th percentile of small requests without an attack, in milliseconds."""
    with beside(service) as (_, small):
        time.sleep(seconds)
    return small.milliseconds(0.99)


def one_after_another(group: ControlGroup, log: Path, names: list[str], max_bytes: int) -> list[dict[str, Any]]:
    """Run each attack alone, on a new service after one that was killed; return a row for each."""
    rows, waiting = list[dict[str, Any]](), list(reversed(names))
    while waiting:
        service, first = LimitedService(group, log, PICTURE), len(rows)
        try:
            with beside(service) as (live, small):
                while waiting and service.is_alive():
                    rows.append(_attacked(service, waiting.pop(), max_bytes))
        finally:
            service.stop()
        for row in rows[first:]:
            since, until = row.pop("since"), row.pop("until")
            row["livez_ms_most"] = live.milliseconds(1.0, since, until)
            row["small_ms_most"] = small.milliseconds(1.0, since, until)
            row["small_statuses"] = small.statuses(since, until)
    return rows


def _attacked(service: LimitedService, name: str, max_bytes: int) -> dict[str, Any]:
    """Run one attack; return what it saw, and what it cost in memory."""
    service.reset_peak()
    resident, begun = service.memory_bytes("VmRSS"), time.monotonic()
    statuses = attack(name, service.address, max_bytes)
    peak = service.memory_bytes("VmHWM")
    killed = service.ends_within(PAUSE_S)
    typer.echo(f"{name}: {'KILLED' if killed else dict(statuses)}", err=True)
    grown = None if killed else (peak - resident) / MIB
    found = {"attack": name, "killed": killed, "statuses": dict(statuses), "grown_mib": grown}
    return found | {"since": begun, "until": time.monotonic()}


def _warm_levels(service: LimitedService) -> None:
    """Have the networks of every level built that the attacks name: they are kept, as they are for other clients."""
    host, port = service.address
    for level in LEVELS:
        answer = httpx.post(f"http://{host}:{port}/predict", params={"level": level}, content=PICTURE, headers=PNG)
        answer.raise_for_status()


def mixed(service: LimitedService, names: list[str], max_bytes: int, seconds: float, seed: int) -> Counter[str]:
    """Run random mixtures over so many connections until the time is over; return the statuses seen.

    Every mixture is begun at least once, however long they take.
    """
    generator, seen, lock = random.Random(seed), Counter[str](), threading.Lock()
    mixtures = [generator.sample(names, ATTACKS_PER_MIXTURE) for _ in range(MIXTURES)]
    end, places = time.monotonic() + seconds, iter(range(10**9))

    def work(_: int) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        while (place := next(places)) < MIXTURES or time.monotonic() < end:
            for name in mixtures[place % MIXTURES]:
                if not service.is_alive():
                    return
                found = attack(name, service.address, max_bytes)
                with lock:
                    seen.update(found)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(work, range(CONNECTIONS)))
    return seen


def measure(memory_mib: int, cpus: float, names: list[str], seconds: float, seed: int, log: Path) -> dict[str, Any]:
    """Attack a service of one size; return its figures."""
    max_bytes = Settings.model_fields["max_body_bytes"].default
    with control_group(memory_mib * MIB, cpus) as group:
        rows = one_after_another(group, log, names, max_bytes)
        service = LimitedService(group, log, PICTURE)
        try:
            _warm_levels(service)
            small_alone = alone(service, seconds / 4)
            before = service.memory_bytes("VmRSS")
            service.reset_peak()
            with beside(service) as (live, small):
                statuses = mixed(service, names, max_bytes, seconds, seed)
            killed = not service.is_alive()
            time.sleep(SETTLE_S)
            after = service.memory_bytes("VmRSS")
            accounted = None if killed else service.accounted_bytes()
            during = small.milliseconds(0.99)
            mixture = {
                "killed": killed,
                "statuses": dict(sorted(statuses.items())),
                "livez_ms_p99": live.milliseconds(0.99),
                "small_ms_p99_alone": small_alone,
                "small_ms_p99_during": during,
                "small_p99_ratio": during / small_alone,
                "small_statuses": small.statuses(),
                "resident_mib_before": before / MIB,
                "resident_mib_peak": None if killed else service.memory_bytes("VmHWM") / MIB,
                "resident_mib_after": None if killed else after / MIB,
                "accounted_mib_after": None if accounted is None else accounted / MIB,
            }
        finally:
            service.stop()
        mixture["holds"] = _holds(mixture)
        return {"memory_mib": memory_mib, "cpus": cpus, "kills": group.kills(), "attacks": rows, "mixture": mixture}


def _holds(mixture: dict[str, Any]) -> dict[str, bool]:
    """Compare the figures of mixtures with what must be true."""
    after, before, told = mixture["resident_mib_after"], mixture["resident_mib_before"], mixture["accounted_mib_after"]
    return {
        "never_killed": not mixture["killed"],
        "livez_p99": mixture["livez_ms_p99"] <= LIVE_P99_MS,
        "small_p99": mixture["small_p99_ratio"] <= SMALL_P99_RATIO,
        "resident_back": after is not None and after <= RESIDENT_RATIO * before,
        "accounted": told is not None and abs(told - after) <= METRICS_RATIO * after,
    }


def table(figures: dict[str, Any]) -> str:
    """Format the figures of all sizes."""
    lines = ["| size | killed alone by | killed by mixtures | /livez p99 | small p99 alone | during | resident MiB |"]
    lines.append("|---|--:|---|--:|--:|--:|---|")
    for size in figures["sizes"]:
        mixture, killing = size["mixture"], [row["attack"] for row in size["attacks"] if row["killed"]]
        memory = " → ".join("–" if mixture[key] is None else f"{mixture[key]:.0f}" for key in RESIDENT_KEYS)
        lines.append(
            f"| {size['memory_mib']} MiB, {size['cpus']:g} CPUs | {len(killing)} of {len(size['attacks'])} "
            f"| {'yes' if mixture['killed'] else 'no'} | {mixture['livez_ms_p99']:.1f} ms "
            f"| {mixture['small_ms_p99_alone']:.1f} ms | {mixture['small_ms_p99_during']:.1f} ms "
            f"({mixture['small_p99_ratio']:.1f} times) | {memory} |"
        )
    for size in figures["sizes"]:
        worst = sorted(size["attacks"], key=lambda row: (not row["killed"], -row["livez_ms_most"]))[:20]
        lines += ["", f"**{size['memory_mib']} MiB, {size['cpus']:g} CPUs, the twenty worst alone**", ""]
        lines += ["| attack | killed | statuses | longest /livez ms | longest small ms | grown MiB |"]
        lines += ["|---|---|---|--:|--:|--:|"]
        for row in worst:
            grown = "–" if row["grown_mib"] is None else f"{row['grown_mib']:.0f}"
            seen = ", ".join(f"{status} × {count}" for status, count in row["statuses"].items())
            lines.append(
                f"| {row['attack']} | {'yes' if row['killed'] else 'no'} | {seen} | {row['livez_ms_most']:.0f} "
                f"| {row['small_ms_most']:.0f} | {grown} |"
            )
        failed = [name for name, held in size["mixture"]["holds"].items() if not held]
        lines += ["", f"Mixtures: {'all criteria hold' if not failed else 'not held: ' + ', '.join(failed)}."]
    return "\n".join([*lines, "", figures["machine"]["text"]])


def plot(figures: dict[str, Any], path: Path) -> None:
    """Draw longest waits against growth of memory, one point an attack."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xscale="symlog", yscale="log", xlabel="MiB more at the peak", ylabel="longest /livez, ms")
    for size, marker in zip(figures["sizes"], "os", strict=False):
        lived = [row for row in size["attacks"] if not row["killed"]]
        label = f"{size['memory_mib']} MiB ({len(size['attacks']) - len(lived)} killed)"
        grown, longest = [row["grown_mib"] for row in lived], [row["livez_ms_most"] for row in lived]
        axes.plot(grown, longest, marker, label=label, alpha=0.5)
    axes.axhline(LIVE_P99_MS, color="grey", linewidth=0.8)
    axes.legend()
    figure.savefig(path, dpi=150)


def main(
    sizes: Annotated[list[int] | None, typer.Option("--memory-mib", help="Only these sizes: 1024, 512.")] = None,
    seconds: Annotated[float, typer.Option(help="Duration of the mixtures, in seconds.")] = 60.0,
    only: Annotated[str, typer.Option(help="Only attacks whose names match this pattern.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the mixtures.")] = 0,
    log: Annotated[Path | None, typer.Option(help="Where to append what the services log.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Attack services of both sizes, and print the tables."""
    names = [name for name in ATTACKS if re.search(only, name)]
    log = log or Path(tempfile.mkstemp(suffix=".log")[1])
    chosen = [size for size in SIZES if not sizes or size[0] in sizes]
    try:
        measured = [measure(memory, cpus, names, seconds, seed, log) for memory, cpus in chosen]
    except ControlGroupError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    figures = {"machine": machine(), "seconds": seconds, "seed": seed, "sizes": measured}
    print(table(figures))
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table(figures) + "\n")
        plot(figures, json_file.with_suffix(".png"))


if __name__ == "__main__":
    typer.run(main)
