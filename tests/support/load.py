"""Clients that ask again and again, and keep count."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx

from tests.support.waiting import HANG_S

Request = tuple[str, bytes, str]
"""Path with its query, body, and media type."""


class Load:
    """`clients` threads that each send the requests in turn until told to stop."""

    def __init__(self, url: str, requests: Sequence[Request], clients: int) -> None:
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self.seen: list[tuple[int, httpx.Response]] = []
        self._url, self._requests = url, requests
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(clients)]

    def _ask(self, client: int) -> None:
        turn = client
        with httpx.Client(base_url=self._url, timeout=HANG_S, trust_env=False) as connection:
            while not self._stopping.is_set():
                path, body, media_type = self._requests[turn % len(self._requests)]
                try:
                    answer = connection.post(path, content=body, headers={"Content-Type": media_type})
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    continue
                self.answers[answer.status_code] += 1
                if answer.status_code != httpx.codes.OK:
                    self.failures.append(f"{answer.status_code} {answer.text}")
                self.seen.append((turn % len(self._requests), answer))
                turn += 1

    def stop(self) -> None:
        """Send no more, and wait for what was sent."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(90)

    def stop_when(self, told: Callable[[], bool], seconds: float) -> None:
        """Stop as a balancer does: as soon as `told` says so."""
        deadline = time.monotonic() + seconds
        while not told():
            assert time.monotonic() < deadline, "nothing said to stop"
            time.sleep(0.02)
        self.stop()

    def wait_for(self, answers: int, seconds: float = 60) -> None:
        """Until so many more have come."""
        goal, deadline = self.answers.total() + answers, time.monotonic() + seconds
        while self.answers.total() < goal:
            assert time.monotonic() < deadline, f"only {self.answers} in {seconds} s; {self.failures[:3]}"
            time.sleep(0.02)

    @contextmanager
    def running(self) -> Iterator[Load]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self.stop()
