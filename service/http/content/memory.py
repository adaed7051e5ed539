"""Budget the memory of requests in progress: bodies, decoded pictures, answers.

Each part may use the capacity up to its share, counted over all parts together. The share of a later stage is larger,
so a request that holds a body can always get room for its pictures sooner or later, and no two wait for each other.
The last eighth is kept for small reservations, which therefore never wait for large ones.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, Self

import anyio

from service.errors import OverloadedError, TooLargeError
from service.resources import trim_heap_soon

Part = Literal["bodies", "pictures", "answers"]
MIB = 2**20
# Largest fraction of the capacity that all parts may use together before a reservation of this part is granted.
SHARES: dict[Part, float] = {"bodies": 0.5, "pictures": 0.85, "answers": 1.0}
# Reservations up to a fraction of the capacity may use the fraction of it that others may not.
SMALL_SIZE, SMALL_FRACTION = 1 / 32, 1 / 8
RETRY_AFTER_S = 2
# After so many bytes were released, the heap is trimmed, as long afterwards: it would keep them for this process.
TRIM_BYTES, TRIM_DELAY_S = 16 * MIB, 1.0


@dataclass(eq=False)
class Waiter:
    """Bytes that a reservation waits for; `granted` is set once it has them."""

    reservation: Reservation
    nbytes: int
    granted: anyio.Event = field(default_factory=anyio.Event)


class RequestMemory:
    """Bytes that requests in progress may use together; belongs to one event loop.

    A reservation that does not fit now waits up to `max_wait_s` for others to end, after those that came before.
    """

    def __init__(self, capacity: int, max_wait_s: float) -> None:
        self.capacity, self.max_wait_s = capacity, max_wait_s
        self.used: dict[Part, int] = dict.fromkeys(SHARES, 0)
        self._used_by_all = self._used_by_small = self._freed = 0
        self._small_bytes, self._kept_for_small = int(SMALL_SIZE * capacity), int(SMALL_FRACTION * capacity)
        self._limits = {part: int(share * capacity) for part, share in SHARES.items()}
        self._waiting: dict[Part, deque[Waiter]] = {part: deque() for part in SHARES}

    def largest(self, part: Part) -> int:
        """Return the bytes that one reservation of a part can have at most."""
        return self._limits[part] - self._kept_for_small

    def add(self, reservation: Reservation, nbytes: int) -> bool:
        """Give a reservation more bytes if it has not to wait for them; return whether it has them."""
        in_turn = self._waiting[reservation.part] and not self._is_small(reservation, nbytes)
        if in_turn or not self._fits(reservation, nbytes):
            return False
        self._change(reservation, nbytes)
        return True

    async def add_in_turn(self, reservation: Reservation, nbytes: int) -> bool:
        """Give a reservation more bytes as soon as there is room; return false if that takes too long."""
        waiter, queue = Waiter(reservation, nbytes), self._waiting[reservation.part]
        queue.append(waiter)
        try:
            with anyio.move_on_after(self.max_wait_s):
                await waiter.granted.wait()
        finally:
            if not waiter.granted.is_set():
                queue.remove(waiter)
                self._grant()  # those behind it may fit
        return waiter.granted.is_set()

    def release(self, reservation: Reservation, nbytes: int) -> None:
        """Take bytes from a reservation, and give them to those that wait."""
        self._change(reservation, -nbytes)
        self._freed += nbytes
        if self._freed > TRIM_BYTES:
            self._freed = 0
            trim_heap_soon(TRIM_DELAY_S)
        if any(self._waiting.values()):
            self._grant()

    def _fits(self, reservation: Reservation, nbytes: int) -> bool:
        used, limit = self._used_by_all + nbytes, self._limits[reservation.part]
        if self._is_small(reservation, nbytes):
            return used <= limit
        kept = self._kept_for_small
        return used - min(self._used_by_small, kept) <= limit - kept

    def _is_small(self, reservation: Reservation, nbytes: int) -> bool:
        return reservation.nbytes + nbytes <= self._small_bytes

    def _change(self, reservation: Reservation, nbytes: int) -> None:
        before = reservation.nbytes
        after = reservation.nbytes = before + nbytes
        if before <= self._small_bytes:
            self._used_by_small -= before
        if after <= self._small_bytes:
            self._used_by_small += after
        self._used_by_all += nbytes
        self.used[reservation.part] += nbytes

    def _grant(self) -> None:
        for queue in self._waiting.values():
            while queue and self._fits(queue[0].reservation, queue[0].nbytes):
                waiter = queue.popleft()
                self._change(waiter.reservation, waiter.nbytes)
                waiter.granted.set()


class Reservation:
    """Bytes of one part of the request memory, of one request, released when its context ends; empty at first."""

    def __init__(self, memory: RequestMemory, part: Part) -> None:
        self._memory, self.part, self.nbytes = memory, part, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shrink(0)

    def check(self, nbytes: int, what: str) -> None:
        """Raise TooLargeError if this service can never have so many more bytes for `what`."""
        wanted, most = self.nbytes + nbytes, self._memory.largest(self.part)
        if wanted > most:
            raise TooLargeError(
                f"{what} needs {wanted / MIB:,.0f} MiB of memory: at most {most / MIB:,.0f} MiB are available here"
            )

    async def grow(self, nbytes: int, what: str) -> None:
        """Add bytes for `what`; raise TooLargeError, or OverloadedError if others use them for too long."""
        self.check(nbytes, what)
        if not self._memory.add(self, nbytes) and not await self._memory.add_in_turn(self, nbytes):
            again = f"try again in {RETRY_AFTER_S} s"
            raise OverloadedError(f"{what} needs memory that other requests use: {again}", RETRY_AFTER_S)

    def shrink(self, nbytes: int) -> None:
        """Keep so many bytes at most, and release the rest."""
        if nbytes < self.nbytes:
            self._memory.release(self, self.nbytes - nbytes)
