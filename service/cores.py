"""How many cores this process may use: the container's CPU quota counts, not the host's cores."""

from __future__ import annotations

import math
import os
from pathlib import Path

from service.cgroup import CGROUP, OWN, own_groups


def usable_cores(cgroup: Path = CGROUP, own: Path = OWN) -> int:
    """Cores by affinity, or by the tightest quota of this process's control groups where that is less; at least one."""
    cores = len(os.sched_getaffinity(0))
    quotas = [quota for folder in own_groups("cpu", cgroup, own) if (quota := _quota_v2(folder) or _quota_v1(folder))]
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
