"""The end of a service that has clients: no request that it took is lost."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.support.http import PNG
from tests.support.services import running_service
from tests.support.waiting import HANG_S

DRAINING = {"status": "draining", "store": "reachable", "unready": []}


def test_it_says_so_and_answers_on(digits_store: Path, example: bytes) -> None:
    """From the signal on it is not ready, and ends each connection with its answer; then it exits with status 0."""
    with (
        running_service(digits_store, "--drain-seconds", "3", "--max-wait-ms", "60000") as (url, process),
        httpx.Client() as client,
    ):
        process.send_signal(signal.SIGTERM)
        end, refused = time.monotonic() + HANG_S, httpx.Response(200)
        while refused.status_code == 200:
            assert time.monotonic() < end
            refused = client.get(f"{url}/readyz")
        assert (refused.status_code, refused.json()) == (503, DRAINING)
        answer = client.post(f"{url}/predict", content=example, headers=PNG)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert client.get(f"{url}/livez").status_code == 200
        _, errors = process.communicate(timeout=HANG_S)
        assert (process.returncode, errors) == (0, "")


def test_a_second_signal_ends_it_at_once(digits_store: Path) -> None:
    """However long it would have drained."""
    for second in (signal.SIGTERM, signal.SIGINT):
        with running_service(digits_store, "--drain-seconds", "600") as (url, process):
            process.send_signal(signal.SIGTERM)
            end = time.monotonic() + HANG_S
            while httpx.get(f"{url}/readyz").status_code == 200:
                assert time.monotonic() < end
            process.send_signal(second)
            _, errors = process.communicate(timeout=HANG_S)
            assert (process.returncode, errors) == (128 + second, "")


class Balancer:
    """Clients that send requests while the service is ready, as a load balancer would let them."""

    def __init__(self, url: str, example: bytes, clients: int) -> None:
        self.url, self.example = url, example
        self.answered, self.failed = 0, list[str]()
        self._closed, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        self._threads.append(threading.Thread(target=self._probe))

    def __enter__(self) -> Balancer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def _probe(self) -> None:
        with httpx.Client() as client:
            while not self._closed.is_set():
                if client.get(f"{self.url}/readyz").status_code != 200:
                    self._closed.set()
                time.sleep(0.05)

    def _ask(self) -> None:
        with httpx.Client(timeout=HANG_S) as client:
            while not self._closed.is_set():
                try:
                    response = client.post(f"{self.url}/predict", content=self.example, headers=PNG)
                    problem = None if response.status_code == 200 else response.text
                except httpx.HTTPError as error:
                    problem = repr(error)
                with self._lock:
                    self.answered += problem is None
                    if problem is not None:
                        self.failed.append(problem)


@pytest.mark.slow
def test_under_load(digits_store: Path, example: bytes) -> None:
    """Time and again, every request that was sent before the service was seen to leave has its answer."""
    for _ in range(2):
        with (
            running_service(digits_store, "--drain-seconds", "2", "--max-wait-ms", "60000") as (url, process),
            Balancer(url, example, 6) as balancer,
        ):
            while balancer.answered < 10:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert process.wait(HANG_S) == 0
        assert balancer.failed == []
