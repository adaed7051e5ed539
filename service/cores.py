"""How many cores this process may use: the container's CPU quota counts, not the host's cores."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def usable_cores(cgroup: Path = CGROUP, own: Path = OWN) -> int:
    """Cores by affinity, or by the tightest quota of this process's control groups where that is less; at least one.

    `cgroup` is where control groups are mounted, `own` lists those of this process.
    """
    cores = len(os.sched_getaffinity(0))
    quotas = [quota for folder in _folders(cgroup, own) if (quota := _quota_v2(folder) or _quota_v1(folder))]
    return max(1, min(cores, math.floor(min(quotas)))) if quotas else cores


def _folders(cgroup: Path, own: Path) -> set[Path]:
    """Where quotas may stand: the mounts themselves, and every control group from the process's own upwards."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines() if line.count(":") >= 2]
    except OSError:
        lines = []
    mounts = {cgroup: "", cgroup / "cpu": ""}
    for _, controllers, path in lines:
        if controllers == "":  # version two has one hierarchy
            mounts[cgroup] = path.lstrip("/")
        elif "cpu" in controllers.split(","):
            mounts[cgroup / "cpu"] = mounts[cgroup / controllers] = path.lstrip("/")
    own_folders = {mount: mount / path for mount, path in mounts.items()}
    return {
        each
        for mount, folder in own_folders.items()
        for each in (folder, *folder.parents)
        if each.is_relative_to(mount)
    }


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
