"""Bound the memory of loaded networks: room is made before any are built, and counted until they are freed.

Draws beyond the published number are dropped first, then networks that were not used for longest. Those that default
requests need stay, up to half of the limit, so that no client can make other clients wait by what it asks for. Networks
that a request still uses count until its end, whoever has dropped them.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Protocol

from service.errors import OverloadedError
from service.resources import trim_heap, trim_heap_soon

# Long enough for all of an engine, and for others dropped with it, to be freed.
TRIM_DELAY_S = 0.2
# Share of the limit up to which networks of default requests are kept from others.
PINNED_SHARE = 0.5
# Time without requests after which draws beyond the published number are dropped, and levels that clients named.
EXTRA_IDLE_S, IDLE_S = 60.0, 900.0
# Longest wait for networks in use to be freed, how often that is looked at, and when a client may try again.
MAX_WAIT_S, POLL_S, RETRY_AFTER_S = 5.0, 0.01, 2


class Owner(Protocol):
    """A level, as far as its memory is concerned.

    `pinned` if default requests need it, `busy` if requests use it now; `published_bytes` are those of the published
    number of draws.
    """

    pinned: bool

    @property
    def busy(self) -> bool: ...

    @property
    def published_bytes(self) -> int: ...

    def shrink(self) -> None:
        """Drop the draws beyond the published number that no request uses."""

    def drop(self) -> None:
        """Drop all networks."""


@dataclass(eq=False)
class Claim:
    """Memory of one engine: `nbytes` that it takes, and `reserved` for what is being built."""

    owner: Owner
    nbytes: int = 0
    reserved: int = 0


class MemoryBudget:
    """Bytes of the networks of one service; a `limit` of None is none. Safe to use from several threads."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        # When owners with networks were used last, the least recently used first; claims last as long as their engines.
        self._owners: OrderedDict[Owner, float] = OrderedDict()
        self._claims: set[Claim] = set()
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Return the bytes that all networks take, and those reserved for networks that are being built."""
        return sum(claim.nbytes + claim.reserved for claim in self._claims.copy())

    def used_by(self, owner: Owner) -> int:
        """Return the bytes that networks of one owner take, including those that it has dropped and requests use."""
        return sum(claim.nbytes for claim in self._claims.copy() if claim.owner is owner)

    def available_to(self, owner: Owner, *, published: bool) -> int | None:
        """Return the most bytes that an owner may ever take, for its published draws or for more; None is no limit."""
        if self.limit is None:
            return None
        with self._lock:
            return self.limit - sum(other.published_bytes for other in self._kept_from(owner, published))

    def touch(self, owner: Owner) -> None:
        """Record that networks of `owner` are used now."""
        with self._lock:
            self._owners[owner] = monotonic()
            self._owners.move_to_end(owner)

    def release(self, owner: Owner) -> None:
        """Forget an owner that has dropped its networks."""
        with self._lock:
            self._owners.pop(owner, None)

    def release_idle(self) -> None:
        """Drop draws beyond the published number, and later networks that no default request needs, while unused."""
        now, before = monotonic(), self.used
        with self._lock:
            idle = [(owner, now - used) for owner, used in self._owners.items() if now - used > EXTRA_IDLE_S]
        for owner, idle_s in idle:
            if idle_s > IDLE_S and not owner.pinned and not owner.busy:
                self.release(owner)
                owner.drop()
            else:
                owner.shrink()
        if self.used < before:
            trim_heap_soon(TRIM_DELAY_S)

    def claim(self, owner: Owner) -> Claim:
        """Open a claim for an engine that is built next; `follow` or `close` ends it."""
        claim = Claim(owner)
        self._claims.add(claim)
        return claim

    def close(self, claim: Claim) -> None:
        """End a claim."""
        self._claims.discard(claim)

    def follow(self, claim: Claim, engine: object) -> None:
        """End a claim, and trim the heap soon after, once its engine is garbage collected, whoever held it last."""
        weakref.finalize(engine, self._freed, claim).atexit = False

    @contextmanager
    def room(self, claim: Claim, nbytes: int, *, published: bool, latest: float | None = None) -> Iterator[None]:
        """Make room for `nbytes` more while the context lasts, in which the claim's `nbytes` is to be raised.

        Waits for networks in use to be freed, until `latest` in seconds of `time.monotonic`, for some seconds at most.
        Raises OverloadedError where there is no room then.
        """
        until = monotonic() + MAX_WAIT_S if latest is None else min(latest, monotonic() + MAX_WAIT_S)
        before = self.used
        while not self._make_room(claim, nbytes, published):
            if monotonic() > until:
                raise OverloadedError("requests in progress use the memory for networks: try again", RETRY_AFTER_S)
            sleep(POLL_S)
        if self.used < before + nbytes:  # something was dropped
            trim_heap()
        try:
            yield
        finally:
            claim.reserved -= nbytes

    def _reserved(self, claim: Claim, nbytes: int) -> bool:
        """Reserve bytes if they fit; return whether they did."""
        with self._lock:
            fits = self.limit is None or self.used + nbytes <= self.limit
            claim.reserved += nbytes if fits else 0
            return fits

    def _make_room(self, claim: Claim, nbytes: int, published: bool) -> bool:
        """Drop networks until so many bytes fit, and reserve these; return whether they do."""
        if self._reserved(claim, nbytes):
            return True
        with self._lock:
            others = [owner for owner in self._owners if owner is not claim.owner]
            kept = self._kept_from(claim.owner, published)
        for owner in others:
            owner.shrink()
            if self._reserved(claim, nbytes):
                return True
        for owner in sorted(others, key=lambda owner: (owner.pinned, owner.busy)):
            if owner not in kept:
                self.release(owner)
                owner.drop()
                if self._reserved(claim, nbytes):
                    return True
        return False

    def _kept_from(self, owner: Owner, published: bool) -> set[Owner]:
        """Return the pinned owners whose networks are not dropped for others; the caller holds the lock."""
        if self.limit is None or (owner.pinned and published):
            return set()
        kept, total = set[Owner](), 0
        for other in reversed(self._owners):
            if other.pinned and other is not owner:
                total += other.published_bytes
                if kept and total > PINNED_SHARE * self.limit:
                    break
                kept.add(other)
        return kept

    def _freed(self, claim: Claim) -> None:
        # Without the lock: the finalizer may run in a thread that holds it.
        self.close(claim)
        trim_heap_soon(TRIM_DELAY_S)
