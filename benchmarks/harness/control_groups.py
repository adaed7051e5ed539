"""Run a command within the memory and processors of a container, in control groups of version 1 or 2; needs root."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

MOUNT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
REMOVE_S = 10.0


class ControlGroupError(Exception):
    """Control groups cannot be created on this machine."""


@dataclass(frozen=True)
class ControlGroup:
    """A group with limits: one folder in version 2, one a controller in version 1."""

    memory: Path
    cpu: Path

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs `command` in this group."""
        join = "; ".join(f"echo $$ > {folder}/cgroup.procs" for folder in sorted({self.memory, self.cpu}))
        return ["sh", "-c", f'{join}; exec "$@"', "sh", *command]

    def kills(self) -> int:
        """Count the processes that were killed for want of memory."""
        for name in ("memory.events", "memory.oom_control"):
            if (self.memory / name).exists():
                found = re.search(r"oom_kill (\d+)", (self.memory / name).read_text())
                return int(found[1]) if found else 0
        return 0

    def peak_bytes(self) -> int | None:
        """Return the most that was in use at a time, where the kernel tells."""
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            if (self.memory / name).exists():
                return int((self.memory / name).read_text())
        return None


@contextmanager
def control_group(memory_bytes: int, cpus: float) -> Iterator[ControlGroup]:
    """Create a group with these limits and no swap; remove it at the end, when its processes have ended.

    Raises ControlGroupError.
    """
    name, second = f"slimbayes-{uuid4().hex[:8]}", (MOUNT / "cgroup.controllers").exists()
    memory, cpu = (MOUNT / name, MOUNT / name) if second else (MOUNT / "memory" / name, MOUNT / "cpu" / name)
    quota = int(cpus * PERIOD_US)
    limits = {memory / "memory.max": str(memory_bytes), cpu / "cpu.max": f"{quota} {PERIOD_US}"}
    if not second:
        limits = {memory / "memory.limit_in_bytes": str(memory_bytes), cpu / "cpu.cfs_period_us": str(PERIOD_US)}
        limits[cpu / "cpu.cfs_quota_us"] = str(quota)
    try:
        for folder in {memory, cpu}:
            folder.mkdir()
        for file, limit in limits.items():
            file.write_text(limit)
        swap = memory / ("memory.swap.max" if second else "memory.memsw.limit_in_bytes")
        if swap.exists():
            swap.write_text("0" if second else str(memory_bytes))
    except OSError as error:
        _remove({memory, cpu})
        raise ControlGroupError(
            f"no control group with limits on memory and processors: {error}; it needs root, and on version 2 both"
            f" controllers in {MOUNT}/cgroup.subtree_control"
        ) from error
    try:
        yield ControlGroup(memory, cpu)
    finally:
        _remove({memory, cpu})


def _remove(folders: set[Path]) -> None:
    """Remove the groups; the kernel takes a moment after their last process."""
    end = time.monotonic() + REMOVE_S
    for folder in folders:
        while folder.exists():
            try:
                folder.rmdir()
            except OSError:
                if time.monotonic() > end:
                    return
                time.sleep(0.1)
