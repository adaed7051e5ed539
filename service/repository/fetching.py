"""Read a level's file from the store once for all requests that wait for it, however long the store takes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

from service.concurrency import run_in_thread
from service.errors import DeadlineError, FetchingError, RequestError

# Longest wait of a request without a deadline for a file from the store, and when to try again.
MAX_FETCH_S, RETRY_AFTER_S = 10.0, 5


class Fetching:
    """The fetch of the file of `name`, by `fetch`, which returns why it failed; one at a time, in its own thread."""

    def __init__(self, name: str, fetch: Callable[[], RequestError | None]) -> None:
        self._name, self._fetch = name, fetch
        self._lock = threading.Lock()
        self._future: Future[RequestError | None] | None = None

    async def result(self, deadline_s: float | None) -> RequestError | None:
        """Wait for the fetch, for `deadline_s` seconds at most, and return why it failed; it goes on without a waiter.

        Raises DeadlineError, and without a deadline FetchingError, where it takes too long.
        """
        with self._lock:
            if self._future is None or self._future.done():
                self._future = run_in_thread(self._fetch, "fetch")
            fetching = asyncio.wrap_future(self._future)
        done, _ = await asyncio.wait([fetching], timeout=MAX_FETCH_S if deadline_s is None else deadline_s)
        if not done and deadline_s is not None:
            raise DeadlineError(f"the deadline passed while the file of {self._name} was read from the store")
        if not done:
            raise FetchingError(f"the file of {self._name} is still being read from the store", RETRY_AFTER_S)
        return fetching.result()
