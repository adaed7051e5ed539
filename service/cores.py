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


def _folders(cgroup: Path, own: Path) -> list[Path]:
    """The mount itself, and every control group from the process's own upwards."""
    try:
        paths = [line.split(":", 2)[2].lstrip("/") for line in own.read_text().splitlines() if line.count(":") >= 2]
    except OSError:
        paths = []
    each = {folder for path in paths for folder in (cgroup / path, *(cgroup / path).parents)}
    return [cgroup, *(folder for folder in each if cgroup in folder.parents)]


def _quota_v2(cgroup: Path) -> float | None:
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) / int(period)


def _quota_v1(cgroup: Path) -> float | None:
    try:
        limit = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        period = int((cgroup / "cpu" / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return limit / period if limit > 0 else None
