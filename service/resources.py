"""The control groups of this process, in which a container's limits stand, of both versions.

How many cores this process may use: the container's CPU quota counts, not the host's cores.
"""

from __future__ import annotations

import ctypes
import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def cgroup_directories(controller: str, cgroup: Path = CGROUP, own: Path = OWN) -> set[Path]:
    """Where a controller's limits may stand: the mounts themselves, and every group from the process's own upwards.

    `cgroup` is where control groups are mounted, `own` lists those of this process.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines() if line.count(":") >= 2]
    except OSError:
        lines = []
    mounts = {cgroup: "", cgroup / controller: ""}
    for _, controllers, path in lines:
        if controllers == "":  # version two has one hierarchy
            mounts[cgroup] = path.lstrip("/")
        elif controller in controllers.split(","):
            mounts[cgroup / controller] = mounts[cgroup / controllers] = path.lstrip("/")
    own_folders = {mount: mount / path for mount, path in mounts.items()}
    return {
        each
        for mount, folder in own_folders.items()
        for each in (folder, *folder.parents)
        if each.is_relative_to(mount)
    }


def usable_cores(cgroup: Path = CGROUP, own: Path = OWN) -> int:
    """Cores by affinity, or by the tightest quota of this process's control groups where that is less; at least one."""
    cores = len(os.sched_getaffinity(0))
    quotas = [
        quota for folder in cgroup_directories("cpu", cgroup, own) if (quota := _quota_v2(folder) or _quota_v1(folder))
    ]
    return max(1, min(cores, math.floor(min(quotas)))) if quotas else cores


def _quota_v2(folder: Path) -> float | None:
    try:
        limit, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) / int(period)


def _quota_v1(folder: Path) -> float | None:
    try:
        limit = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return limit / period if limit > 0 else None


# What a process takes beside its networks: itself, and pictures on their way.
BESIDE = 288 * 2**20
# Networks are allowed so much however small the container is.
LEAST = 64 * 2**20
# Files with the limit, in the second version of control groups and in the first, where a number above `NONE` is none.
LIMITS, NONE = ("memory.max", "memory.limit_in_bytes"), 2**60


def container_memory_limit(cgroup: Path = CGROUP, own: Path = OWN) -> int | None:
    """Bytes that the container has for networks, by the tightest limit of its control groups; None without one."""
    files = (folder / name for folder in cgroup_directories("memory", cgroup, own) for name in LIMITS)
    limits = [limit for file in files if (limit := _limit(file)) is not None]
    return max(LEAST, min(limits) - BESIDE) if limits else None


def _limit(file: Path) -> int | None:
    try:
        limit = int(file.read_text())
    except (OSError, ValueError):  # there is none, or it says `max`
        return None
    return limit if limit < NONE else None


def trim_heap() -> None:
    """Return freed memory to the system, which the C library would otherwise keep for the next bank."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:  # a C library without it keeps no such memory
        return
