"""Configure glibc's allocator for training."""

from __future__ import annotations

import ctypes

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MAX_INT32 = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed memory in the process for the next step; do nothing where the C library is not glibc.

    Otherwise every large tensor is mapped again by the kernel, which clears it page by page: a step of resnet20 under
    `ivon` or of resnet18 under `lrt` took 15 % longer, with twenty times the page faults, in a tenth to a fourth less
    memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, MAX_INT32)
