"""Measure the image in containers of several sizes: time to ready, images per CPU second, and memory.

    python -m benchmarks.serving.containers slimbayes:latest --json docs/results/containers.json

Needs podman and `wrk`. Service and load generator share one host; the generator's share of the processors is in the
table. Requests hold squares of photographs, and the image serves its own zoo. CPU seconds are those of the container's
control group, so other load on the machine does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.harness.http_load import body, flood
from tests.support.containers import Container, serving
from tests.support.image_engine import Engine

CPUS = (0.5, 1.0, 2.0)
LEVELS = ("dense", "p80", "p90", "p95", "x4")
IMAGES_PER_REQUEST, NUM_BODIES = 32, 8
# Rejected requests would count as answers, so every request may wait at full load.
LONG_WAIT = ("--env", "SLIMBAYES_MAX_WAIT_MS=600000")


def main(
    image: Annotated[str, typer.Argument(help="Container image of the service.")],
    storage: Annotated[Path, typer.Option(help="Folder of the storage that holds the image.")],
    seconds: Annotated[int, typer.Option(help="Duration of each load, in seconds.")] = 10,
    rounds: Annotated[int, typer.Option(help="Containers per size, in turn; medians are shown.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Measure sizes and levels, and print both tables."""
    engine = Engine(storage)
    figures: dict[str, list[dict[str, Any]]] = {
        "sizes": _sizes(engine, image, seconds, rounds),
        "levels": list(_levels(engine, image, seconds)),
    }
    table = "\n\n".join(_table(name, rows) for name, rows in figures.items())
    print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")


def _sizes(engine: Engine, image: str, seconds: int, rounds: int) -> list[dict[str, float]]:
    """Return medians over rounds; each round measures every size once."""
    found = [[_sized(engine, image, cpus, seconds) for cpus in CPUS] for _ in range(rounds)]
    return [_median(list(of_one_size)) for of_one_size in zip(*found, strict=True)]


def _sized(engine: Engine, image: str, cpus: float, seconds: int) -> dict[str, float]:
    """Saturate one container of `cpus` processors at the default level."""
    with serving(engine, image, "slimbayes-sized", *LONG_WAIT, cpus=cpus) as container:
        ready, found = container.seconds_to_ready, _busy(container, "", seconds)
        return {"cpus": cpus, "seconds_to_ready": ready, **found, "most_mib": container.most_bytes() / 2**20}


def _levels(engine: Engine, image: str, seconds: int) -> Iterator[dict[str, Any]]:
    """Measure each level on one processor, in a container of its own."""
    for level in LEVELS:
        with serving(engine, image, "slimbayes-level", *LONG_WAIT) as container:
            default = _networks(container)
            found = _busy(container, level, seconds)
            yield {"level": level, **found, "bank_mib": (_networks(container) - default or default) / 2**20}


def _busy(container: Container, level: str, seconds: int) -> dict[str, float]:
    """Saturate the container with eight connections and 32 images per request."""
    path = f"/predict?level={level}" if level else "/predict"
    bodies = [body(_pictures(seed)) for seed in range(NUM_BODIES)]
    flood(container.url, path, bodies, 2)
    begun = container.processor_seconds()
    loaded = flood(container.url, path, bodies, seconds)
    used = container.processor_seconds() - begun
    if loaded.failed:
        raise RuntimeError(f"{loaded.failed} of {loaded.requests} requests failed")
    images = loaded.requests * IMAGES_PER_REQUEST
    return {
        "images_per_second": images / loaded.seconds,
        "images_per_processor_second": images / used,
        "processors_used": used / loaded.seconds,
        "generator_processors": loaded.generator_seconds / loaded.seconds,
    }


def _networks(container: Container) -> float:
    """Return the bytes that its networks take, from its own metrics."""
    lines = httpx.get(container.url + "/metrics", trust_env=False).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("slimbayes_bank_bytes{"))


def _pictures(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return squares of photographs, uint8 [32, 32, 32, 3]."""
    random, found = np.random.default_rng(seed), []
    for photograph in (load_sample_images().images * IMAGES_PER_REQUEST)[:IMAGES_PER_REQUEST]:
        top, left = (int(random.integers(0, side - 128)) for side in photograph.shape[:2])
        square = Image.fromarray(photograph[top : top + 128, left : left + 128])
        found.append(np.asarray(square.resize((32, 32))))
    return np.stack(found)


def _median(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.median([row[name] for row in rows])) for name in rows[0]}


def _table(title: str, rows: list[dict[str, Any]]) -> str:
    lines = [f"**{title}**", "", "| " + " | ".join(key.replace("_", " ") for key in rows[0]) + " |"]
    lines.append("|" + "--:|" * len(rows[0]))
    return "\n".join([*lines, *("| " + " | ".join(map(_cell, row.values())) + " |" for row in rows)])


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    typer.run(main)
