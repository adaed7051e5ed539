"""Count failed requests and wrong answers while versions are promoted, and while the service stops."""

from __future__ import annotations

import json
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from benchmarks.harness.http_load import Clients, body
from benchmarks.serving.overload import Service
from model_store.manifest import Level, Manifest
from model_store.manifest.integrity import sha256
from model_store.store import Store
from pruning.graph.onnx_export import stamp
from service.inference.artifact import read_artifact
from service.inference.bank import Bank
from service.inference.engine import Engine
from service.inference.uncertainty import Draws

Pixels = npt.NDArray[np.uint8]
# Promotions after which memory use is taken as stable.
WARM_UP_PROMOTIONS = 5
NUM_CLIENTS, INTERVAL_S = 4, 0.1
# Fixed, so that an answer can be compared with its version's.
NUM_DRAWS = 8
DRAIN_S = "0.5"


def publish(store: Path, images_NHWC: Pixels, count: int) -> dict[str, Any]:
    """Publish and promote `count` versions under load; compare every answer with that of its version's own draws."""
    bodies = [body(image[None]) for image in images_NHWC]
    with _copied(store) as opened, Service(Path(opened.url), "--reload-seconds", "0.2") as service:
        model = opened.models()[0]
        first = opened.manifest(model, opened.resolve(model))
        memory = []
        with Clients(service.url, f"/predict?samples={NUM_DRAWS}", bodies, NUM_CLIENTS, INTERVAL_S) as clients:
            for number in range(count):
                opened.set_alias(model, "production", _published(opened, first, number))
                _wait_for(service.url, opened.resolve(model, "production"), bodies[0].content)
                memory.append(_resident(service.process.pid))
        answered = [(number, json.loads(content)) for number, status, content, _ in clients.answers if status == 200]
        versions = sorted({answer["version"] for _, answer in answered})
        expected = {version: _expected(opened, model, version, images_NHWC) for version in versions}
    return {
        "promotions": count,
        "requests": len(clients.answers),
        "failed": clients.num_failed(),
        "versions_that_answered": len(versions),
        "largest_difference": max(_difference(answer, expected, number) for number, answer in answered),
        "ms_p99": clients.milliseconds(0.99),
        "memory_mib_after_first": memory[min(WARM_UP_PROMOTIONS, count) - 1],
        "memory_mib_at_end": memory[-1],
        "memory_growth": memory[-1] / memory[min(WARM_UP_PROMOTIONS, count) - 1] - 1,
    }


def sigterm(store: Path, images_NHWC: Pixels, times: int) -> dict[str, Any]:
    """Stop a service under load `times` times; clients send until `/readyz` is 503, as behind a load balancer."""
    bodies, answered, failed, statuses = [body(image[None]) for image in images_NHWC], 0, list[str](), set[int]()
    for _ in range(times):
        with (
            Service(store, "--drain-seconds", DRAIN_S) as service,
            Clients(service.url, "/predict", bodies, NUM_CLIENTS, 0.0) as clients,
        ):
            time.sleep(0.5)
            service.process.send_signal(signal.SIGTERM)
            while httpx.get(f"{service.url}/readyz").status_code == 200:
                time.sleep(0.02)
            clients.stop.set()
            statuses.add(service.process.wait(30))
        answered += sum(status == 200 for _, status, _, _ in clients.answers)
        failed += [*clients.errors, *(str(status) for _, status, _, _ in clients.answers if status != 200)]
    return {"times": times, "answered": answered, "failed": failed, "exit_statuses": sorted(statuses)}


@contextmanager
def _copied(store: Path) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(store, Path(folder) / "store")
        yield Store.open(Path(folder) / "store")


def _published(store: Store, first: Manifest, number: int) -> str:
    """Publish the files as another version, with pixels a little brighter, so that it gives other answers."""
    version = f"20300101-000000-{number:06x}"
    files, levels = dict[str, bytes](), list[Level]()
    for level in first.levels:
        graph = onnx.load_model_from_string(store.read_level(first, level.name))
        (pixels,) = (each for each in graph.graph.initializer if each.name == "pixels.factor")
        brighter = numpy_helper.to_array(pixels) * np.float32(1 + 0.01 * (number + 1))
        pixels.CopyFrom(numpy_helper.from_array(brighter, pixels.name))
        data = files[level.name] = stamp(graph, first.model, version, level.name)
        levels.append(level.model_copy(update={"bytes": len(data), "sha256": sha256(data)}))
    store.publish(first.model_copy(update={"version": version, "levels": tuple(levels)}), files)
    return version


def _wait_for(url: str, version: str, picture: bytes) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        while _serving_version(client, picture) != version:
            time.sleep(0.1)


def _serving_version(client: httpx.Client, picture: bytes) -> str:
    answer = client.post("/predict", params={"samples": 1}, content=picture, headers={"Content-Type": "image/png"})
    version: str = answer.raise_for_status().json()["version"]
    return version


def _expected(store: Store, model: str, version: str, images_NHWC: Pixels) -> list[dict[str, float]]:
    """Compute each image's class probabilities from the version's own draws."""
    manifest = store.manifest(model, version)
    level = next(level for level in manifest.levels if level.name == manifest.default_level)
    artifact = read_artifact(store.read_level(manifest, level.name), level.roundings)
    with ThreadPoolExecutor(1) as builders:
        engine = Engine(Bank(artifact, artifact.draw_key), builders)
        logits_SNK = engine.draws(images_NHWC, NUM_DRAWS)
    mean_NK = Draws.from_logits(logits_SNK, level.calibration.temperature).mean
    return [dict(zip(manifest.classes, mean_K, strict=True)) for mean_K in mean_NK.tolist()]


def _difference(answer: dict[str, Any], expected: dict[str, list[dict[str, float]]], number: int) -> float:
    own = expected[answer["version"]][number]
    shown = answer["predictions"][0]["probabilities"]
    largest: float = max(abs(each["probability"] - own[each["label"]]) for each in shown)
    return largest


def _resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
