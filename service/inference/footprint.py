"""Measure the memory of networks: estimated from above before the first is built, measured while others are.

A session keeps its constants twice, as they were given and in the layout of its kernels, and some memory for each
operator. With ONNX Runtime 1.32 on x86 the zoo's networks take 0.5 to 0.97 times the estimate; what is measured
and 3 % for fragments of the heap differ by 3 % from what is resident.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import onnx

from service.resources import allocated_bytes

# Memory of a session beside its constants, and of each of its operators (measured, rounded up).
SESSION_BYTES, NODE_BYTES = 64 * 2**10, 10 * 2**10
# What is resident for each byte that is allocated (measured).
FRAGMENTATION = 1.03
# A measurement that is further from the estimate than this factor is of something else that was allocated meanwhile.
MAX_FACTOR = 2.5
# Measurements of which the median counts, and the longest wait for those of others, which would be measured as well.
NUM_MEASUREMENTS, MAX_WAIT_S = 9, 1.0
_measuring = threading.Lock()


def estimate_session_bytes(constants_bytes: int, nodes: int) -> int:
    """Estimate the memory of a session from above."""
    return 2 * constants_bytes + nodes * NODE_BYTES + SESSION_BYTES


def graph_bytes(model: onnx.ModelProto) -> int:
    """Return the bytes of a graph's constants."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


class Footprint:
    """Memory of networks of one kind: `nbytes` each, as measured, before that the `estimate`.

    What is allocated for fewer than `fewest` at once is not measured.
    """

    def __init__(self, estimate: int, *, fewest: int) -> None:
        self.estimate, self.fewest = estimate, fewest
        self._measured: deque[float] = deque(maxlen=NUM_MEASUREMENTS)

    @property
    def nbytes(self) -> int:
        """Return the bytes of one."""
        return round(FRAGMENTATION * median(self._measured)) if self._measured else self.estimate

    def record(self, nbytes: float) -> None:
        """Add a measurement, unless it cannot be of this kind."""
        if self.estimate / MAX_FACTOR <= nbytes <= self.estimate * MAX_FACTOR:
            self._measured.append(nbytes)

    @contextmanager
    def measured(self) -> Iterator[list[object]]:
        """Measure what is allocated in this context for the networks that are added to the list; contexts take turns.

        Nothing is measured where the list stays empty.
        """
        built: list[object] = []
        alone = _measuring.acquire(timeout=MAX_WAIT_S)
        try:
            before = allocated_bytes() if alone else None
            yield built
            if before is not None and len(built) >= self.fewest and (after := allocated_bytes()) is not None:
                self.record((after - before) / len(built))
        finally:
            if alone:
                _measuring.release()
