"""Generate HTTP load: saturating from `wrk`, which costs next to nothing, or at a steady pace from a few threads."""

from __future__ import annotations

import http.client
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from os import times
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image

CONNECTIONS = 8
# Pause of a client after a 503.
RETRY_PAUSE_S = 0.1
BOUNDARY = "picture"
# Sends prepared requests in turn, and writes the results as one line of JSON.
SCRIPT = """
local requests, sent = {}, 0
init = function(arguments)
  for number = 1, tonumber(arguments[2]) do
    local file = io.open(arguments[1] .. "/" .. number, "rb")
    requests[number] = wrk.format("POST", arguments[3], {["Content-Type"] = arguments[4]}, file:read("*a"))
    file:close()
  end
end
request = function()
  sent = sent % #requests + 1
  return requests[sent]
end
done = function(summary, latency)
  local errors = summary.errors
  io.stderr:write(string.format(
    '{"requests": %d, "seconds": %f, "failed": %d, "ms_median": %f, "ms_p99": %f}\\n', summary.requests,
    summary.duration / 1e6, errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""

# Polls `/livez` until its input ends, and prints the milliseconds of each response.
WATCH_SCRIPT = """
import http.client, json, select, sys, time
connection, found = http.client.HTTPConnection(sys.argv[1], timeout=60), []
while not select.select([sys.stdin], [], [], 0.05)[0]:
    begun = time.perf_counter()
    connection.request("GET", "/livez")
    connection.getresponse().read()
    found.append(1000 * (time.perf_counter() - begun))
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Body:
    """A request's body and its media type."""

    media_type: str
    content: bytes


def body(images_NHWC: npt.NDArray[np.uint8]) -> Body:
    """Encode one image as a PNG, several as a multipart form."""
    pictures = [_png(image) for image in images_NHWC]
    if len(pictures) == 1:
        return Body("image/png", pictures[0])
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'.encode()
    parts = [head + picture + b"\r\n" for picture in pictures]
    return Body(f"multipart/form-data; boundary={BOUNDARY}", b"".join(parts) + f"--{BOUNDARY}--\r\n".encode())


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image.squeeze()).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class LoadResult:
    """Figures of one load, and the CPU seconds of the generator itself."""

    requests: int
    seconds: float
    failed: int
    ms_median: float
    ms_p99: float
    generator_seconds: float


def flood(url: str, path: str, bodies: Sequence[Body], seconds: int) -> LoadResult:
    """Saturate the service from `wrk` over `CONNECTIONS` connections; all bodies are of one media type.

    Requests in flight at the end do not count, which matters little where requests are short.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.lua"
        script.write_text(SCRIPT)
        for number, each in enumerate(bodies, 1):
            (Path(folder) / str(number)).write_bytes(each.content)
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "60s", "-s", str(script), url]
        arguments = [folder, str(len(bodies)), path, bodies[0].media_type]
        before = times()
        done = subprocess.run([*command, "--", *arguments], capture_output=True, text=True, check=True)
        after = times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return LoadResult(**json.loads(done.stderr.splitlines()[-1]), generator_seconds=used)


@dataclass
class Clients:
    """Client threads on persistent connections, at a steady pace or one request after the other.

    `interval_s` is the time between two requests of one client; a late request still counts from its due time. The
    threads end with the context, or when `stop` is set.
    """

    url: str
    path: str
    bodies: Sequence[Body]
    count: int
    interval_s: float
    stop: threading.Event = field(default_factory=threading.Event)
    # Index of the body, status, content and seconds of every response.
    answers: list[tuple[int, int, bytes, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __enter__(self) -> Clients:
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, place: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        due = time.perf_counter() + place * self.interval_s / self.count
        while not self.stop.wait(max(0.0, due - time.perf_counter())):
            begun = due if self.interval_s else time.perf_counter()
            number = place % len(self.bodies)
            sent = self.bodies[number]
            try:
                connection.request("POST", self.path, sent.content, {"Content-Type": sent.media_type})
                response = connection.getresponse()
                content = response.read()
                self.answers.append((number, response.status, content, time.perf_counter() - begun))
                if response.status == 503:
                    self.stop.wait(RETRY_PAUSE_S)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self.errors.append(repr(error))
            place, due = place + self.count, due + self.interval_s
        connection.close()

    def milliseconds(self, share: float) -> float:
        """Return a quantile of the latency of status 200 responses; infinity where there are none."""
        answered = [seconds for _, status, _, seconds in self.answers if status == 200]
        return 1000 * float(np.quantile(answered or [math.inf], share))

    def num_failed(self) -> int:
        """Count the requests without a status 200 response."""
        return len(self.errors) + sum(status != 200 for _, status, _, _ in self.answers)


def ask(url: str, path: str, bodies: Sequence[Body], seconds: int) -> LoadResult:
    """Saturate the service from threads; for long requests, since those in flight at the end are awaited and count."""
    begun, used = time.perf_counter(), time.process_time()
    with Clients(url, path, bodies, CONNECTIONS, 0.0) as clients:
        time.sleep(seconds)
    return LoadResult(
        requests=len(clients.answers),
        seconds=time.perf_counter() - begun,
        failed=clients.num_failed(),
        ms_median=clients.milliseconds(0.5),
        ms_p99=clients.milliseconds(0.99),
        generator_seconds=time.process_time() - used,
    )


@contextmanager
def watched(url: str) -> Iterator[list[float]]:
    """Poll `/livez` twenty times a second from another process; yield a list that gets its latencies in ms."""
    found: list[float] = []
    # A process of its own, so that delays of this one do not count.
    watch = subprocess.Popen(
        [sys.executable, "-c", WATCH_SCRIPT, urlsplit(url).netloc],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield found
    finally:
        answered, _ = watch.communicate()
        found += json.loads(answered)
