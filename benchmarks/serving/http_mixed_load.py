"""Measure the latency of small requests while another client sends requests of the maximum size."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness.http_load import Clients, body, watched
from benchmarks.serving.overload import Service
from service.settings import Settings

SMALL_CLIENTS, SMALL_INTERVAL_S = 2, 0.05


def mixed_load(store: Path, images_NHWC: npt.NDArray[np.uint8], seconds: float) -> dict[str, Any]:
    """Send requests of one image at a steady pace, alone and beside the largest requests, with default settings."""
    limits = Settings(store=store)
    small = [body(image[None]) for image in images_NHWC]
    large = [body(images_NHWC[: limits.max_images])]
    rows: dict[str, Any] = {"large_images": limits.max_images, "large_samples": limits.max_samples}
    with Service(store) as service:
        # Build the engine of the large requests before anything is timed.
        with Clients(service.url, f"/predict?samples={limits.max_samples}", small, 1, 0.0):
            time.sleep(0.1)
        with Clients(service.url, "/predict", small, SMALL_CLIENTS, SMALL_INTERVAL_S) as alone:
            time.sleep(seconds)
        with (
            watched(service.url) as live,
            Clients(service.url, f"/predict?samples={limits.max_samples}", large, 1, 0.0) as largest,
            Clients(service.url, "/predict", small, SMALL_CLIENTS, SMALL_INTERVAL_S) as together,
        ):
            time.sleep(seconds)
    for name, clients in (("alone", alone), ("in_company", together)):
        quantiles = {"ms_median": clients.milliseconds(0.5), "ms_p99": clients.milliseconds(0.99)}
        rows[name] = {"requests": len(clients.answers), "not_answered": clients.num_failed(), **quantiles}
    answered = [each for each in largest.answers if each[1] == 200]
    rows["large"] = {
        "answered": len(answered),
        "refused": len(largest.answers) - len(answered),
        "seconds_each": float(np.mean([each[3] for each in answered])) if answered else None,
    }
    rows["p99_ratio"] = rows["in_company"]["ms_p99"] / rows["alone"]["ms_p99"]
    return rows | {"livez_ms_p99": float(np.quantile(live, 0.99))}
