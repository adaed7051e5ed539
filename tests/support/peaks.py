"""Measure the memory that work takes, as the kernel counts it, in a process where nothing else takes any."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")
PROCESS = Path("/proc/self")


def peak_bytes(work: Callable[[], Found]) -> tuple[Found, int]:
    """What work returns, and its highest memory above what there was."""
    ctypes.CDLL(None).malloc_trim(0)
    (PROCESS / "clear_refs").write_text("5")
    before = _memory("VmRSS")
    found = work()
    return found, _memory("VmHWM") - before


def _memory(name: str) -> int:
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
