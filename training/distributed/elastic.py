"""Which start of a run the ranks are in, agreed upon by those that are alive.

torchrun may keep one store over restarts, in which what ended processes wrote is found again: their addresses, which
nobody answers at. Its own count of restarts tells starts apart only on one host: a host that hears of a loss elsewhere
restarts too, but does not count it. So rank 0 names each start anew, and goes on once every other rank has answered to
that name; a rank that answered to an older one hears nothing, and asks again.
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
    """A name that all ranks of this start have got, and none of another; raises where some are missing.

    `store` is the one that torchrun's environment names, with whatever earlier starts have left in it.
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
    me = uuid4().hex  # an ended process of this rank may have been heard before
    store.wait([START_KEY], TIMEOUT)
    answered = ""
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    while time.monotonic() < deadline:
        name = store.get(START_KEY).decode()
        answer = f"{START_KEY}/{name}/{rank}"
        if name != answered:
            store.set(answer, me)
            answered = name
        if store.check([f"{answer}/heard"]) and store.get(f"{answer}/heard").decode() == me:
            return name
        time.sleep(POLL_EVERY_S)
    raise TimeoutError(f"rank 0 did not start within {TIMEOUT.total_seconds():.0f} seconds")
