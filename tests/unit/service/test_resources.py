"""What a container may use: cores by its quota, memory by its limit, in both kinds of control group."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from service.resources import (
    PROCESS_BYTES,
    allocated_bytes,
    container_memory_limit,
    network_bytes,
    request_bytes,
    resident_bytes,
    usable_cores,
)

AVAILABLE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", AVAILABLE), ("50000 100000", 1), ("100000 100000", 1), ("199000 100000", 1),
     ("6400000 100000", AVAILABLE), ("nonsense", AVAILABLE)],
)  # fmt: skip
def test_version_two(tmp_path: Path, quota: str, cores: int) -> None:
    """`cpu.max` holds limit and period, or max."""
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert usable_cores(tmp_path, tmp_path / "none") == cores


@pytest.mark.parametrize(("limit", "cores"), [("-1", AVAILABLE), ("50000", 1), ("10000000", AVAILABLE)])
def test_version_one(tmp_path: Path, limit: str, cores: int) -> None:
    """Limit and period lie in files of their own; -1 is no limit."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(limit)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path, tmp_path / "none") == cores


def test_no_control_group(tmp_path: Path) -> None:
    """Then the affinity counts."""
    assert usable_cores(tmp_path, tmp_path / "none") == AVAILABLE


def test_tightest_of_its_own_groups(tmp_path: Path) -> None:
    """A quota on the process's own group, or on one above it, counts as much as one on the root."""
    own = tmp_path / "own"
    own.write_text("0::/system.slice/slimbayes.service\n")
    group = tmp_path / "cgroup" / "system.slice" / "slimbayes.service"
    group.mkdir(parents=True)
    assert usable_cores(tmp_path / "cgroup", own) == AVAILABLE
    (group / "cpu.max").write_text("max 100000")
    (group.parent / "cpu.max").write_text("150000 100000")
    assert usable_cores(tmp_path / "cgroup", own) == 1


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_own_group_of_version_one(tmp_path: Path, controllers: str) -> None:
    """Each controller has a hierarchy of its own; others' quotas are not this process's."""
    own = tmp_path / "own"
    own.write_text(f"4:memory:/elsewhere\n2:{controllers}:/pods/half\n")
    for name, limit in (("pods/half", "50000"), ("pods", "-1"), ("other", "10000")):
        group = tmp_path / "cgroup" / controllers / name
        group.mkdir(parents=True, exist_ok=True)
        (group / "cpu.cfs_quota_us").write_text(limit)
        (group / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path / "cgroup", own) == 1
    (tmp_path / "cgroup" / controllers / "pods/half/cpu.cfs_quota_us").write_text("-1")
    assert usable_cores(tmp_path / "cgroup", own) == AVAILABLE


@pytest.mark.parametrize(
    ("file", "text", "limit"),
    [("memory.max", "max", None), ("memory.max", str(512 * 2**20), 512 * 2**20), ("memory.max", "1000", 1000),
     ("memory/memory.limit_in_bytes", "9223372036854771712", None),
     ("memory/memory.limit_in_bytes", str(2**30), 2**30)],
)  # fmt: skip
def test_memory_limit_of_the_container(tmp_path: Path, file: str, text: str, limit: int | None) -> None:
    """That of its control group, of either version."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(f"{text}\n")
    assert container_memory_limit(tmp_path, tmp_path / "none") == limit


@pytest.mark.parametrize(
    ("limit", "requests", "networks"), [(512, 112, 224), (1024, 282, 565), (128, 64, 64), (2**20, 1024, 2**20 - 1200)]
)
def test_the_parts_of_a_limit(limit: int, requests: int, networks: int) -> None:
    """The process, a third of the rest for requests, and networks; together they fit where there is enough for both."""
    for_requests = request_bytes(limit * 2**20)
    for_networks = network_bytes(limit * 2**20, for_requests)
    assert for_networks is not None
    assert (for_requests // 2**20, for_networks // 2**20) == (requests, networks)
    if limit >= 512:
        assert PROCESS_BYTES + for_requests + for_networks <= limit * 2**20


def test_without_a_limit() -> None:
    assert request_bytes(None) == 2**30
    assert network_bytes(None, request_bytes(None)) is None


def test_resident_memory_follows_what_is_used() -> None:
    before = resident_bytes()
    with mmap.mmap(-1, 64 * 2**20) as held:  # of its own, whatever the heap has left
        for _ in range(64):
            held.write(b"x" * 2**20)
        assert 48 * 2**20 < resident_bytes() - before < 96 * 2**20


def test_the_tightest_limit_counts(tmp_path: Path) -> None:
    """Of the process's own group and those above it."""
    own, group = tmp_path / "own", tmp_path / "cgroup" / "memory" / "pods" / "one"
    own.write_text("4:memory:/pods/one\n")
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(str(2**31))
    (group.parent / "memory.limit_in_bytes").write_text(str(2**30))
    assert container_memory_limit(tmp_path / "cgroup", own) == 2**30


def test_what_is_allocated_is_told() -> None:
    """Large blocks and small ones, until they are freed."""
    before = allocated_bytes()
    if before is None:
        pytest.skip("this C library does not say what it has allocated")
    kept = [b"x" * 2**24, *(b"x" * 10_000 for _ in range(1_000))]
    taken = sum(map(len, kept))
    during = allocated_bytes()
    kept.clear()
    after = allocated_bytes()
    assert during is not None
    assert after is not None
    assert during - before == pytest.approx(taken, rel=0.1)
    assert during - after == pytest.approx(taken, rel=0.1)
