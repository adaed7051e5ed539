"""Generate the metrics reference from what a running service exposes."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path

from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from model_store.storage.location import ZOO
from service.app import create_app
from service.settings import Settings
from tools.gendocs.markdown import NOTICE, REFERENCE, code, one_line, table

PATH = REFERENCE / "metrics.md"
# Drift has an index from 200 predictions on, so that its labels can be seen.
REQUESTS, IMAGES_PER_REQUEST = 7, 32
READY_TIMEOUT_S = 60.0
INTRODUCTION = """# Metrics

`GET /metrics` exposes these families in Prometheus's text format. Each process counts for itself; scrape every
replica. [Operations](../guides/operations.md#metrics-and-alerts) explains the alerts built on them. A level's series
end when its version is no longer served. Counters are listed by the name of their samples, with `_total`; a histogram
has the samples `_bucket`, `_sum` and `_count`.
"""


def generate() -> tuple[Path, str]:
    """Return the path and content of the metrics reference."""
    families = collect()
    own = [family for family in families if family.name.startswith("slimbayes_")]
    process = [family for family in families if not family.name.startswith("slimbayes_")]
    parts = [INTRODUCTION, NOTICE, "## Service\n", _table(own), "## Process\n", _table(process)]
    return PATH, "\n".join(parts)


def collect() -> list[Metric]:
    """Serve the zoo, answer and label enough images for every family to have samples, and parse `/metrics`.

    Raises RuntimeError if the service does not become ready.
    """
    buffer = BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "PNG")
    files = [("images", buffer.getvalue())] * IMAGES_PER_REQUEST
    app = create_app(Settings(store=ZOO, max_wait_ms=600_000, feedback=IMAGES_PER_REQUEST))
    with TestClient(app) as client:
        _wait_until_ready(client)
        for _ in range(REQUESTS):
            answer = client.post("/predict?samples=4", files=files).raise_for_status().json()
        for number, each in enumerate(answer["predictions"]):
            label = {"request_id": answer["request_id"], "image": number, "label": each["label"]}
            client.post("/feedback", json=label).raise_for_status()
        return list(text_string_to_metric_families(client.get("/metrics").text))


def _wait_until_ready(client: TestClient) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while client.get("/readyz").status_code != 200:
        if time.monotonic() > end:
            raise RuntimeError(f"the service was not ready within {READY_TIMEOUT_S:g} s")
        time.sleep(0.02)


def _table(families: list[Metric]) -> str:
    rows = []
    for family in families:
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((code(name), family.type, ", ".join(map(code, labels)), one_line(family.documentation)))
    return table(("metric", "type", "labels", "meaning"), rows)
