"""Offer four times the sustainable load: measure load shedding, latency and wrong answers.

    python -m benchmarks.serving.overload --store store --data-dir data --json docs/results/overload.json

A real service runs in a process of its own on the first half of the processors, the load generator on the other half.
The sustainable load is the rate of closed-loop clients. Then requests arrive at fixed times (open loop), at four times
that rate for a minute, once with `--overload shed` and once with `degrade`; five seconds later the latency of single
requests is measured. A request holds several test images, so that sending costs less than answering. Answers are
compared with those of the unloaded service to the same images at the same level and number of draws.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from PIL import Image

from model_store.storage.location import default_location
from training.data import load_dataset

# Enough closed-loop clients to saturate the service, and a limit under which it rejects none.
NUM_CLIENTS, LONG_WAIT_MS = 8, 60_000
LOAD_FACTOR = 4
MAX_WAIT_MS = 500
# Polls `/livez`, and prints the seconds of each response.
WATCH_SCRIPT = """
import http.client, json, sys, time
from urllib.parse import urlsplit
connection = http.client.HTTPConnection(urlsplit(sys.argv[1]).netloc, timeout=60)
found, end = [], time.perf_counter() + float(sys.argv[2])
while time.perf_counter() < end:
    begun = time.perf_counter()
    connection.request("GET", "/livez")
    connection.getresponse().read()
    found.append(time.perf_counter() - begun)
    time.sleep(0.05)
print(json.dumps(found))
"""
Answer = dict[str, Any]


@dataclass
class Responses:
    """The responses to one load."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    retry_after: list[int] = field(default_factory=list)
    # Request numbers and unparsed answers; parsing during the load would delay requests.
    bodies: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def answers(self) -> list[tuple[int, Answer]]:
        """Return request numbers and parsed answers."""
        return [(number, json.loads(body)) for number, body in self.bodies]


def bodies(data_dir: Path, dataset: str, images: int, count: int) -> list[dict[str, Any]]:
    """Return `count` request bodies of `images` test images each."""
    pixels = load_dataset(dataset, data_dir, seed=0, limit=None, image_size=None).test.spread(images * count).pixels
    made = []
    for group in pixels.numpy().reshape(count, images, *pixels.shape[1:]):
        files = []
        for number, image in enumerate(group):
            buffer = BytesIO()
            Image.fromarray(image.squeeze()).save(buffer, "PNG")
            files.append(("images", (f"{number}.png", buffer.getvalue(), "image/png")))
        request = httpx.Request("POST", "http://service/predict", files=files)
        made.append({"content": request.read(), "headers": {"content-type": request.headers["content-type"]}})
    return made


def halves() -> tuple[set[int], set[int]]:
    """Return the processors of the service and of the load generator; both are the same where there is only one."""
    every = sorted(os.sched_getaffinity(0))
    half = len(every) // 2
    return set(every[:half] or every), set(every[half:])


@contextmanager
def keeping_to(processors: set[int]) -> Iterator[None]:
    """Pin this process, and what it starts meanwhile, to `processors`."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


class Service:
    """Run `slimbayes serve` on a free port."""

    def __init__(self, store: Path, *flags: str) -> None:
        command = [sys.executable, "-m", "service", "--store", str(store), "--port", "0", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        found = None
        while found is None:
            found = re.search(r"http://[\d.]+:\d+", self.process.stdout.readline())
        self.url = found.group()
        while httpx.get(f"{self.url}/readyz").status_code != 200:
            time.sleep(0.05)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def apart(store: Path, *flags: str) -> Iterator[Service]:
    """Run a service on one half of the processors and this process on the other."""
    own, others = halves()
    with keeping_to(own):
        service = Service(store, *flags)
    with keeping_to(others), service:
        yield service


async def ask(client: httpx.AsyncClient, number: int, body: dict[str, Any], seen: Responses, **query: Any) -> None:
    """Send one request, and record its response."""
    begun = time.perf_counter()
    response = await client.post("/predict", params=query, **body)
    seen.statuses[response.status_code] += 1
    if response.status_code == 200:
        seen.seconds.append(time.perf_counter() - begun)
        seen.bodies.append((number, response.content))
    elif response.status_code == 503:
        seen.retry_after.append(int(response.headers["retry-after"]))


async def sustained(client: httpx.AsyncClient, requests: list[dict[str, Any]], seconds: float) -> float:
    """Return the requests per second of a few closed-loop clients."""
    seen, end = Responses(), time.perf_counter() + seconds

    async def one(first: int) -> None:
        number = first
        while time.perf_counter() < end:
            await ask(client, number % len(requests), requests[number % len(requests)], seen)
            number += NUM_CLIENTS

    await asyncio.gather(*(one(number) for number in range(NUM_CLIENTS)))
    return seen.statuses[200] / seconds


async def flood(client: httpx.AsyncClient, requests: list[dict[str, Any]], rate: float, seconds: float) -> Responses:
    """Send requests at fixed times (open loop), and measure the latency of `/livez` meanwhile."""
    seen, begun = Responses(), time.perf_counter()
    # A process of its own, so that delays of this one do not count.
    watch = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WATCH_SCRIPT, str(client.base_url), str(seconds), stdout=asyncio.subprocess.PIPE
    )
    tasks = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(client, number % len(requests), requests[number % len(requests)], seen)))
    await asyncio.gather(*tasks)
    found, _ = await watch.communicate()
    seen.live = json.loads(found)
    return seen


async def compare(client: httpx.AsyncClient, requests: list[dict[str, Any]], seen: Responses) -> float:
    """Return the largest difference of a probability from the unloaded service's, over at most 200 answers."""
    worst, calm, answers = 0.0, dict[tuple[int, str, int], Answer](), seen.answers
    for number, answer in answers[:: max(1, len(answers) // 200)]:
        for place, prediction in enumerate(answer["predictions"]):
            asked = number, answer["level"], prediction["monte_carlo"]["draws"]
            if asked not in calm:
                query = {"level": asked[1], "samples": asked[2]}
                calm[asked] = (await client.post("/predict", params=query, **requests[number])).json()
            other = {one["label"]: one["probability"] for one in calm[asked]["predictions"][place]["probabilities"]}
            worst = max(worst, *(abs(one["probability"] - other[one["label"]]) for one in prediction["probabilities"]))
    return worst


def milliseconds(seconds: list[float], share: float) -> float | None:
    """Return a quantile of times in milliseconds, None where there are none."""
    return 1000 * float(np.quantile(seconds, share)) if seconds else None


async def contest(store: Path, requests: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Return one row per overload policy."""
    rows = []
    limits = httpx.Limits(max_connections=2000, max_keepalive_connections=2000)
    typer.echo(f"sustainable load: {seconds / 4:.0f} s", err=True)
    with apart(store, "--max-wait-ms", str(LONG_WAIT_MS)) as service:
        async with httpx.AsyncClient(base_url=service.url, timeout=120, limits=limits) as client:
            rate = await sustained(client, requests, seconds / 4)
    for overload in ("shed", "degrade"):
        typer.echo(f"{overload}: {seconds:.0f} s of {LOAD_FACTOR * rate:.0f} requests a second", err=True)
        with apart(store, "--overload", overload, "--max-wait-ms", str(MAX_WAIT_MS)) as service:
            async with httpx.AsyncClient(base_url=service.url, timeout=120, limits=limits) as client:
                before, after = Responses(), Responses()
                for number in range(10):
                    await ask(client, number, requests[number], before)
                seen = await flood(client, requests, LOAD_FACTOR * rate, seconds)
            await asyncio.sleep(5)
            # A new client, since one with hundreds of connections searches all of them for each request.
            async with httpx.AsyncClient(base_url=service.url, timeout=120, limits=limits) as client:
                for number in range(10):
                    await ask(client, number, requests[number], after)
                worst = await compare(client, requests, seen)
        total, answers = sum(seen.statuses.values()), seen.answers
        spent = [sum(answer["timing_ms"].values()) / 1000 for _, answer in answers]
        rows.append(
            {
                "overload": overload,
                "sustainable_per_second": rate,
                "requests": total,
                "answered": seen.statuses[200] / total,
                "refused": seen.statuses[503] / total,
                "other": sorted(set(seen.statuses) - {200, 503}),
                "ms_median": milliseconds(seen.seconds, 0.5),
                "ms_p99": milliseconds(seen.seconds, 0.99),
                "ms_p99_in_service": milliseconds(spent, 0.99),
                "in_time": float(np.mean(np.array(spent) <= MAX_WAIT_MS / 1000)) if spent else None,
                "livez_ms_p99": milliseconds(seen.live, 0.99),
                "retry_after": sorted(set(seen.retry_after)),
                "degraded": sum(answer["degraded"] is not None for _, answer in answers) / max(1, len(answers)),
                "ms_before": milliseconds(before.seconds, 0.5),
                "ms_after": milliseconds(after.seconds, 0.5),
                "degraded_after": sum(answer["degraded"] is not None for _, answer in after.answers),
                "largest_difference": worst,
            }
        )
    return rows


def main(
    store: Annotated[Path | None, typer.Option(help="Folder of a store; by default the zoo.")] = None,
    data: Annotated[str, typer.Option(help="Data set of the test images.")] = "cifar10",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the data set.")] = None,
    images: Annotated[int, typer.Option(help="Images per request.")] = 8,
    seconds: Annotated[float, typer.Option(help="Duration of the load, in seconds.")] = 60.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Measure both overload policies, and print the table."""
    requests = bodies(data_dir or Path("data"), data, images, 40)
    rows = asyncio.run(contest(store or Path(default_location()), requests, seconds))
    keys = list(rows[0])
    lines = ["| | " + " | ".join(str(row["overload"]) for row in rows) + " |", "|---|" + "--:|" * len(rows)]
    for key in keys[1:]:
        cells = [f"{row[key]:.4g}" if isinstance(row[key], float) else str(row[key]) for row in rows]
        lines.append(f"| {key.replace('_', ' ')} | {' | '.join(cells)} |")
    print("\n".join(lines))
    if json_file is not None:
        json_file.write_text(json.dumps({"images": images, "seconds": seconds, "rows": rows}, indent=2) + "\n")
        json_file.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
