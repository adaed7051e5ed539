"""Post changed pictures of six formats to a service: count the statuses, and what took more memory than it may.

    python -m benchmarks.serving.hostile_pictures --count 100000 --json docs/results/hostile_pictures.json

A service with the zoo, all formats and a limit of 1,048,576 pixels runs in a control group of 1 GiB. Pictures of many
kinds, and one of each known kind of bomb, are changed in one to three places each: fields of headers, second headers,
fill bytes, forged tables, metadata and frames, or any bytes. Checksums fit, so that decoders meet the changes. After
each answer the peak of resident memory since the request is compared with what the picture announces before it is
decoded. The same seed is the same pictures. With --keep, those at fault are written to a folder, from which
`make fuzz FUZZ_TARGET=pictures FUZZ_INPUT=…` reads them. The exit status is 1 unless every answer is 200, 413, 415 or
422 and within the budget.

Needs root for the control group.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer

from benchmarks.harness.control_groups import ControlGroup, ControlGroupError, control_group
from benchmarks.harness.limited_service import LimitedService
from benchmarks.harness.machine import machine
from model_store.images import open_image
from model_store.images.formats import Format
from model_store.manifest import InputShape
from tests.support.hostile.bodies import PICTURE
from tests.support.hostile.pictures.bombs import bombs
from tests.support.hostile.pictures.mutations import mutants
from tests.support.hostile.pictures.originals import originals

MIB = 2**20
ALLOWED = {200, 413, 415, 422}
MEMORY_BYTES, CPUS = 2**30, 2.0
MAX_PIXELS, MAX_SEED_BYTES = 2**20, 20_000
SHAPE = InputShape(height=32, width=32, channels=3)
# A picture's bytes as sent, received and rewritten; and what requests take anyway.
BYTES_PER_BYTE, FIXED_BYTES = 8, 8 * MIB
TIMEOUT_S, DEATH_S, PROGRESS = 120, 2.0, 5_000
FLAGS = ("--formats", ",".join(get_args(Format)), "--max-pixels", str(MAX_PIXELS), "--log-level", "warning")


@dataclass
class Kind:
    """Count the answers to pictures of one format; a killed service counts as status 0."""

    statuses: Counter[int] = field(default_factory=Counter)
    over_budget: int = 0
    most_grown_bytes: int = 0
    seconds: list[float] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        return {
            "statuses": dict(sorted(self.statuses.items())),
            "over_budget": self.over_budget,
            "most_grown_mib": self.most_grown_bytes / MIB,
            "ms_median": 1000 * float(np.median(self.seconds)),
            "ms_most": 1000 * max(self.seconds),
        }


class Bombardment:
    """A service, one connection to it, and what was seen; a service that is killed is started again."""

    def __init__(self, group: ControlGroup, log: Path, keep: Path | None) -> None:
        self.group, self.log, self.keep = group, log, keep
        self.kinds: dict[str, Kind] = {}
        self._begin()

    def _begin(self) -> None:
        self.service = LimitedService(self.group, self.log, PICTURE, *FLAGS)
        host, port = self.service.address
        self.connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)

    def post(self, kind: str, data: bytes) -> None:
        """Post one picture, and record its status, time and memory."""
        self.service.reset_peak()
        resident, begun = self.service.memory_bytes("VmRSS"), time.perf_counter()
        status = self._status(data)
        seen = self.kinds.setdefault(kind, Kind())
        seen.seconds.append(time.perf_counter() - begun)
        seen.statuses[status] += 1
        grown = self.service.memory_bytes("VmHWM") - resident
        seen.most_grown_bytes = max(seen.most_grown_bytes, grown)
        over = grown > FIXED_BYTES + announced_bytes(data) + BYTES_PER_BYTE * len(data)
        seen.over_budget += over
        if self.keep is not None and (over or status not in ALLOWED):
            (self.keep / f"crash-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
        if status == 0 and self.service.ends_within(DEATH_S):
            self.close()
            self._begin()

    def _status(self, data: bytes) -> int:
        try:
            self.connection.request("POST", "/predict?samples=1", data, {"Content-Type": "image/png"})
            response = self.connection.getresponse()
            response.read()
            return response.status
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return 0

    def close(self) -> None:
        """End connection and service."""
        self.connection.close()
        self.service.stop()


def announced_bytes(data: bytes) -> int:
    """Return what a picture says that decoding it takes; nothing for one that is refused."""
    try:
        return open_image(data, SHAPE, formats=get_args(Format), max_pixels=MAX_PIXELS).decoding_bytes
    except Exception:  # what it is refused for, or what should not be, is in the service's answer
        return 0


def bombard(count: int, seed: int, log: Path, keep: Path | None) -> dict[str, Any]:
    """Post so many changed pictures; return the figures of each format, and what the service logged of trouble."""
    named = ((name.rpartition(".")[2], data) for name, data in bombs(MAX_PIXELS, MAX_SEED_BYTES))
    pictures = [*originals(), *named]
    with control_group(MEMORY_BYTES, CPUS) as group:
        bombardment = Bombardment(group, log, keep)
        try:
            for kind, data in pictures:
                bombardment.post(kind, data)
            for number, (kind, data) in enumerate(mutants(pictures, count, seed), 1):
                bombardment.post(kind, data)
                if number % PROGRESS == 0:
                    typer.echo(f"{number:,} of {count:,}", err=True)
            resident = bombardment.service.memory_bytes("VmRSS") / MIB
        finally:
            bombardment.close()
        lines = log.read_text(errors="replace").splitlines()
        return {
            "count": count,
            "seed": seed,
            "kinds": {kind: seen.row() for kind, seen in bombardment.kinds.items()},
            "kills": group.kills(),
            "resident_mib": resident,
            "errors_logged": sum('"severity":"error"' in line for line in lines),
            "lines_that_are_no_json": sum(not line.startswith("{") for line in lines),
        }


def holds(figures: dict[str, Any]) -> bool:
    """Return whether all answers are allowed and within their budgets, and nothing else was printed."""
    kinds = figures["kinds"].values()
    fine = all(set(row["statuses"]) <= ALLOWED and not row["over_budget"] for row in kinds)
    return fine and not figures["kills"] and not figures["errors_logged"] and not figures["lines_that_are_no_json"]


def table(figures: dict[str, Any]) -> str:
    """Format the counts of each format."""
    kinds = figures["kinds"]
    seen = sorted({status for row in kinds.values() for status in row["statuses"]})
    heads = [*(str(status or "killed") for status in seen), "over budget", "most MiB", "ms median", "ms most"]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads)]
    for kind, row in kinds.items():
        counts = [f"{row['statuses'].get(status, 0):,}" for status in seen]
        measured = [f"{row['most_grown_mib']:.0f}", f"{row['ms_median']:.1f}", f"{row['ms_most']:.0f}"]
        lines.append(f"| {kind} | " + " | ".join([*counts, str(row["over_budget"]), *measured]) + " |")
    lines += [
        "",
        f"{figures['count']:,} changed pictures: {figures['kills']} kills, {figures['errors_logged']} errors logged, "
        f"{figures['lines_that_are_no_json']} lines on standard error that are no JSON.",
        "",
        figures["machine"]["text"],
    ]
    return "\n".join(lines)


def main(
    count: Annotated[int, typer.Option(min=1, help="Changed pictures.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed of the changes.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="Folder for pictures at fault.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Bombard a service, and print the counts."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            figures = {"machine": machine(), **bombard(count, seed, Path(folder) / "log", keep)}
        except ControlGroupError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from error
    print(table(figures))
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table(figures) + "\n")
    raise typer.Exit(not holds(figures))


if __name__ == "__main__":
    typer.run(main)
