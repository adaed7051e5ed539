"""Find the cores and memory that this process may use: limits of its control groups (v1 and v2), else of the host."""

from __future__ import annotations

import ctypes
import math
import os
import threading
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
STATM = Path("/proc/self/statm")
# Memory of a process that serves, beside its networks and its requests (measured).
PROCESS_BYTES = 176 * 2**20
# Requests get this fraction of the rest, within these bounds; networks get what remains, however small the container.
REQUEST_FRACTION = 1 / 3
MIN_REQUEST_BYTES, MAX_REQUEST_BYTES = 64 * 2**20, 2**30
MIN_NETWORK_BYTES = 64 * 2**20
# Files with quota and period, and with the memory limit, in v2 and v1.
CPU_FILES = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
MEMORY_FILES = ("memory.max", "memory.limit_in_bytes")
# In v1, a number from here on stands for no limit.
UNLIMITED_BYTES = 2**60
# Of glibc's malloc.h, and the size from which blocks are returned at once.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES = -1, -3, 8 * 2**20
_trim_scheduled = threading.Event()


def cgroup_directories(controller: str, cgroup: Path = CGROUP, own: Path = OWN) -> set[Path]:
    """Return the folders that may limit a controller: its mounts, and each group from the process's own upwards.

    `cgroup` is the mount point of control groups; `own` lists those of this process.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines() if line.count(":") >= 2]
    except OSError:
        lines = []
    mounts = {cgroup: "", cgroup / controller: ""}
    for _, controllers, path in lines:
        if controllers == "":  # v2 has one hierarchy
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
    """Return the number of usable cores: by affinity, or by the tightest CPU quota if that is less; at least one."""
    cores = len(os.sched_getaffinity(0))
    quotas = [quota for folder in cgroup_directories("cpu", cgroup, own) if (quota := _cpu_quota(folder))]
    return max(1, min(cores, math.floor(min(quotas)))) if quotas else cores


def _cpu_quota(folder: Path) -> float | None:
    for files in CPU_FILES:
        numbers = [number for name in files for number in _numbers(folder / name)]
        if len(numbers) == 2 and numbers[0] > 0:
            return numbers[0] / numbers[1]
    return None


def _numbers(file: Path) -> list[int]:
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):  # no such file, or no limit: its text has `max`
        return []


def container_memory_limit(cgroup: Path = CGROUP, own: Path = OWN) -> int | None:
    """Return the tightest memory limit in bytes, None without a limit."""
    files = (folder / name for folder in cgroup_directories("memory", cgroup, own) for name in MEMORY_FILES)
    limits = [limit for file in files for limit in _numbers(file) if limit < UNLIMITED_BYTES]
    return min(limits, default=None)


def request_bytes(limit: int | None) -> int:
    """Return the share of a memory limit for requests in progress, in bytes."""
    if limit is None:
        return MAX_REQUEST_BYTES
    share = int((limit - PROCESS_BYTES) * REQUEST_FRACTION)
    return min(max(share, MIN_REQUEST_BYTES), MAX_REQUEST_BYTES)


def network_bytes(limit: int | None, for_requests: int) -> int | None:
    """Return what a memory limit leaves for networks, in bytes; None without a limit."""
    return None if limit is None else max(MIN_NETWORK_BYTES, limit - PROCESS_BYTES - for_requests)


def resident_bytes() -> int:
    """Return the memory of this process that is resident, in bytes."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _MallInfo(ctypes.Structure):
    """Figures of the C library's allocator, as glibc's `mallinfo2` gives them."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
        )
    )  # fmt: skip


def allocated_bytes() -> int | None:
    """Return the bytes that this process has allocated from the C library; None where it does not say."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # only glibc has it, since 2.33
        return None
    mallinfo2.restype = _MallInfo
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)


def bound_heap() -> None:
    """Have the C library return large blocks at once, and keep little at the end of each thread's heap.

    By default it adapts to the largest block that was ever freed, and keeps up to 64 MiB for each thread, which
    trimming does not return. Networks of the usual sizes compute with smaller blocks.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # a C library without it
        return
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
    mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK_BYTES)


def trim_heap_soon(delay_s: float) -> None:
    """Trim the heap after a while, once for all that ask until then: what was freed together is returned together."""
    if _trim_scheduled.is_set():
        return
    _trim_scheduled.set()
    timer = threading.Timer(delay_s, _trim_now)
    timer.daemon = True
    timer.start()


def _trim_now() -> None:
    _trim_scheduled.clear()
    trim_heap()


def trim_heap() -> None:
    """Return freed memory to the system, which the C library would otherwise keep for the next bank."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:  # a C library without it keeps no such memory
        return
