"""Memory of networks: estimated from above, then as measured, unless something else was allocated meanwhile."""

from __future__ import annotations

import pytest

from service.inference.footprint import FRAGMENTATION, MAX_FACTOR, Footprint


def test_measured_sizes_replace_the_estimate() -> None:
    """The median of them; what cannot be of networks is left out."""
    footprint = Footprint(1000, fewest=1)
    assert footprint.nbytes == 1000
    for nbytes in (1000 * MAX_FACTOR + 1, 0, -5000):
        footprint.record(nbytes)
    assert footprint.nbytes == 1000
    for nbytes in (700, 720, 900):
        footprint.record(nbytes)
    assert footprint.nbytes == round(720 * FRAGMENTATION)


def test_what_is_allocated_is_measured() -> None:
    """For each of what is built, if enough is."""
    size = 4 * 2**20
    footprint, kept = Footprint(size, fewest=2), list[bytes]()
    with footprint.measured() as built:
        built.append(kept.append(b"x" * 2 * size))
    assert footprint.nbytes == size
    with footprint.measured() as built:
        for _ in range(4):
            kept.append(b"x" * (size // 2))
            built.append(kept[-1])
    assert footprint.nbytes == pytest.approx(size // 2, rel=0.1)
    assert len(kept) == 5
