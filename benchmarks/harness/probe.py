"""Ask a service the same again and again at a steady pace, from a process of its own whose delays are not others'."""

from __future__ import annotations

import http.client
import json
import math
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_S, HIGHER_PRIORITY = 60, -10


@dataclass
class Probe:
    """Begin, status (0 for none) and milliseconds of each question, in the order of asking; filled at the end."""

    asked: list[tuple[float, int, float]] = field(default_factory=list)

    def milliseconds(self, share: float, since: float = 0.0, until: float = math.inf) -> float:
        """Return a quantile of the latency of all questions of a time, answered or not; NaN where there are none."""
        found = sorted(ms for begun, _, ms in self.asked if since <= begun < until)
        return found[min(int(share * len(found)), len(found) - 1)] if found else math.nan

    def statuses(self, since: float = 0.0, until: float = math.inf) -> dict[int, int]:
        """Count the answers by status."""
        seen = [status for begun, status, _ in self.asked if since <= begun < until]
        return {status: seen.count(status) for status in sorted(set(seen))}


@contextmanager
def probing(
    url: str, path: str, interval_s: float, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[Probe]:
    """Ask meanwhile: GET, or POST a body; times are those of `time.monotonic`."""
    probe = Probe()
    plan = {"netloc": urlsplit(url).netloc, "path": path, "interval_s": interval_s, "headers": dict(headers or {})}
    command = [sys.executable, "-m", "benchmarks.harness.probe", json.dumps(plan), (body or b"").hex()]
    asking = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield probe
    finally:
        printed, _ = asking.communicate()
        probe.asked += [(begun, status, ms) for begun, status, ms in json.loads(printed)]


def ask(netloc: str, path: str, interval_s: float, headers: dict[str, str], body: bytes) -> None:
    """Ask until standard input ends, and print what came; a question that is late counts from its due time."""
    connection, asked = http.client.HTTPConnection(netloc, timeout=TIMEOUT_S), list[tuple[float, int, float]]()
    due = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        status = 0
        try:
            connection.request("POST" if body else "GET", path, body or None, headers)
            response = connection.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            connection.close()
        asked.append((due, status, 1000 * (time.monotonic() - due)))
        due = max(due + interval_s, time.monotonic() - TIMEOUT_S)
    print(json.dumps(asked))


if __name__ == "__main__":
    with suppress(OSError):  # without the right to it, at the same priority as all others
        os.nice(HIGHER_PRIORITY)
    ask(**json.loads(sys.argv[1]), body=bytes.fromhex(sys.argv[2]))
