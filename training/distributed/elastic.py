"""Agree on one name for each start of the ranks under torchrun's elastic restarts.

torchrun may keep its store over a restart, with the addresses of processes that have ended. Its own restart count
cannot distinguish starts on several hosts: a host that restarts because of a failure elsewhere does not count it. So
rank 0 gives each start a new name, and proceeds once every other rank has acknowledged it; a rank that acknowledged an
older name gets no confirmation, and polls until the new one appears.
"""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import uuid4

from torch.distributed import Store  # type: ignore[attr-defined]

START_KEY = "slimbayes/start"
TIMEOUT = timedelta(minutes=10)
POLL_EVERY_S = 0.05


def agree_on_start(store: Store, rank: int, world_size: int) -> str:
    """Return a name that all ranks of this start share, and no rank of an earlier start.

    `store` is torchrun's rendezvous store, which may hold keys of earlier starts. Raises TimeoutError, or the store's
    own error, if ranks are missing.
    """
    return _lead(store, world_size) if rank == 0 else _follow(store, rank)


def _lead(store: Store, world_size: int) -> str:
    name = uuid4().hex
    store.set(START_KEY, name)
    for rank in range(1, world_size):
        answer = f"{START_KEY}/{name}/{rank}"
        store.wait([answer], TIMEOUT)
        store.set(f"{answer}/heard", store.get(answer).decode())
    return name


def _follow(store: Store, rank: int) -> str:
    own_id = uuid4().hex  # an ended process of this rank may have been confirmed before
    store.wait([START_KEY], TIMEOUT)
    answered = ""
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    while time.monotonic() < deadline:
        name = store.get(START_KEY).decode()
        answer = f"{START_KEY}/{name}/{rank}"
        if name != answered:
            store.set(answer, own_id)
            answered = name
        if store.check([f"{answer}/heard"]) and store.get(f"{answer}/heard").decode() == own_id:
            return name
        time.sleep(POLL_EVERY_S)
    raise TimeoutError(f"rank 0 did not start within {TIMEOUT.total_seconds():.0f} seconds")
