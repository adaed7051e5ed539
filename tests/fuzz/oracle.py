"""Decide whether a target read an input as it may: in its time, in its memory, always the same, and silently."""

from __future__ import annotations

import logging
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from service.resources import trim_heap
from tests.support.hostile.pictures.mutations import damage

MIB = 2**20
# A busy machine, and what is built at the first request: the least of so many runs counts.
RUNS = 4


class Finding(AssertionError):
    """An input that a target does not bear; the message says in what way."""


@dataclass(frozen=True)
class Cost:
    """Processor seconds of the process, and bytes that were resident at most beyond those before."""

    cpu_s: float
    grown_bytes: int


class Target(ABC):
    """Something that reads what strangers send."""

    # Time for any input, and for each KiB of it.
    cpu_s: ClassVar[float] = 0.05
    cpu_s_per_kib: ClassVar[float] = 0.002
    max_input_bytes: ClassVar[int] = 2**16
    # Whether of seeds with the same outcome one is enough.
    distinct: ClassVar[bool] = False

    @abstractmethod
    def run(self, data: bytes) -> str:
        """Read an input and return what came of it; raise only for what must never happen."""

    def budget(self, data: bytes) -> Cost:
        """The most that this input may cost."""
        return Cost(self.cpu_s + self.cpu_s_per_kib * len(data) / 1024, 8 * MIB)

    def mutate(self, data: bytes, random: Random) -> bytes:
        """A changed input, most often one that is still read to its end."""
        return damage(data, random)

    @abstractmethod
    def seeds(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents of the inputs to begin with: whole ones, and one of each known kind of fault."""

    def close(self) -> None:  # noqa: B027
        """Release what the target holds."""


def examine(target: Target, data: bytes) -> str:
    """Return what came of an input; raise Finding where that is not allowed."""
    budget = target.budget(data)
    with silence():
        outcome, cost = _measured(target, data)
        for _ in range(RUNS):
            if cost.grown_bytes > budget.grown_bytes:
                trim_heap()  # else what it took is still there, and not taken again
            again, other = _measured(target, data)
            if again != outcome:
                raise Finding(f"not the same twice: {outcome}, then {again}")
            cost = Cost(min(cost.cpu_s, other.cpu_s), min(cost.grown_bytes, other.grown_bytes))
            if cost.cpu_s <= budget.cpu_s and cost.grown_bytes <= budget.grown_bytes:
                return outcome
    if cost.cpu_s > budget.cpu_s:
        raise Finding(f"{outcome}: {cost.cpu_s:.3f} s of processor time, where {budget.cpu_s:.3f} s are allowed")
    grown, allowed = cost.grown_bytes / MIB, budget.grown_bytes / MIB
    raise Finding(f"{outcome}: {grown:.0f} MiB more at its peak, where {allowed:.0f} are allowed")


def _measured(target: Target, data: bytes) -> tuple[str, Cost]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from now on
    before, begun = _memory_bytes("VmRSS"), time.process_time()
    outcome = target.run(data)
    return outcome, Cost(time.process_time() - begun, _memory_bytes("VmHWM") - before)


def _memory_bytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def log_at_once() -> None:
    """Write what is logged from now on before the call returns, and not from another thread some time later."""
    logging.getLogger().handlers[:] = [logging.StreamHandler()]


@contextmanager
def silence() -> Iterator[None]:
    """Raise Finding if anything is written to standard error meanwhile, be it by a library in C."""
    kept, said = os.dup(2), os.memfd_create("stderr")
    os.dup2(said, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        with open(said, "rb") as file:
            file.seek(0)
            text = file.read(300).decode(errors="replace")
    if text:
        raise Finding(f"written to standard error: {text!r}")
