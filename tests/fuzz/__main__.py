"""Fuzz what reads strangers' bytes, or reproduce one finding.

    python -m tests.fuzz --seconds 300
    python -m tests.fuzz pictures --input tests/fuzz/corpus/pictures/crash-…

Each target runs in a process of its own, as many at a time as there are processors. The exit status is 1 where an input
was not borne; it lies in the target's corpus then, where the tests find it as well, until it is borne.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from tests.fuzz.targets import TARGETS
from tests.support.project import PROJECT

# What coverage found worth keeping goes on from run to run, beside the project's own corpus.
FOUND_FOLDER = PROJECT / ".fuzz"
LINES = 30
# Commands on a store that cross and die at any step, instead of bytes: hypothesis chooses them.
STORE, INTERLEAVINGS = "store", "tests/contract/store/test_interleavings.py"
# About as many run on one processor.
INTERLEAVINGS_PER_S = 10
ALL_TARGETS = (*TARGETS, STORE)


class Run(NamedTuple):
    """What became of a target: inputs tried, places covered, and what was printed last where one was not borne."""

    target: str
    inputs: int
    covered: int
    finding: str | None


def fuzz(target: str, seconds: int) -> Run:
    """Fuzz one target for so long, in a process of its own."""
    if target == STORE:
        return fuzz_store(seconds)
    folder = FOUND_FOLDER / target
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.engine", target, str(folder), f"-max_total_time={seconds}"]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    printed = done.stdout if isinstance(done.stdout, str) else done.stdout.decode(errors="replace")
    tried = re.search(r"number_of_executed_units: (\d+)", printed)
    covered = re.findall(r"cov: (\d+)", printed)
    finding = "\n".join(printed.splitlines()[-LINES:]) if done.returncode else None
    return Run(target, int(tried[1]) if tried else 0, int(covered[-1]) if covered else 0, finding)


def fuzz_store(seconds: int) -> Run:
    """Interleave commands on stores, about as many times as that takes."""
    count = seconds * INTERLEAVINGS_PER_S
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", INTERLEAVINGS]
    environment = os.environ | {"STORE_INTERLEAVINGS": str(count)}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    finding = "\n".join(done.stdout.splitlines()[-LINES:]) if done.returncode else None
    return Run(STORE, count, 0, finding)


def main(
    targets: Annotated[list[str] | None, typer.Argument(help=f"By default all: {', '.join(ALL_TARGETS)}.")] = None,
    seconds: Annotated[int, typer.Option(min=1, help="How long each is fuzzed.")] = 300,
    given: Annotated[Path | None, typer.Option("--input", help="One input for one target, and no others.")] = None,
) -> None:
    """Fuzz the targets, and print what became of each."""
    chosen = targets or list(ALL_TARGETS)
    if unknown := set(chosen) - set(ALL_TARGETS):
        raise typer.BadParameter(f"there is no target {min(unknown)}: expected {', '.join(ALL_TARGETS)}")
    if given is not None:
        if len(chosen) != 1 or chosen[0] not in TARGETS:
            raise typer.BadParameter(f"an input is for one target: name one of {', '.join(TARGETS)}")
        command = [sys.executable, "-m", "tests.fuzz.engine", chosen[0], "--replay", str(given.resolve())]
        raise typer.Exit(subprocess.run(command, cwd=PROJECT).returncode)
    if find_spec("atheris") is None:
        raise typer.BadParameter("atheris is not installed, which there is for Linux on x86-64: see make fuzz")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(lambda target: fuzz(target, seconds), chosen))
    print("| target | inputs | covered | borne |", "|---|--:|--:|---|", sep="\n")
    for run in runs:
        print(f"| {run.target} | {run.inputs:,} | {run.covered:,} | {'all' if run.finding is None else 'NO'} |")
    for run in runs:
        if run.finding is not None:
            print(f"\n{run.target}:\n{run.finding}\nmake fuzz FUZZ_TARGET={run.target} FUZZ_INPUT=<file> reproduces it")
    raise typer.Exit(int(any(run.finding is not None for run in runs)))


if __name__ == "__main__":
    typer.run(main)
