"""`GET /metrics`: what real requests leave there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from model_store.storage.location import ZOO
from tests.support.http import PNG, metric, requests
from tests.support.images import NOISE, png
from tests.support.services import Warm, catalog_of, default_level
from training.data import load_dataset


def test_counts_add_up(fresh: TestClient, example: bytes) -> None:
    """Of concurrent requests, each, each image and each draw is counted once, where it belongs."""
    plan = list(product(("dense", "p50"), (1, 3, 7), (example, NOISE)))

    def ask(level: str, images: int, picture: bytes) -> dict[str, Any]:
        files = [("images", (f"{number}.png", picture)) for number in range(images)]
        answer: dict[str, Any] = fresh.post("/predict", params={"level": level}, files=files).json()
        return answer

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: ask(*each), 4 * plan))
    text = fresh.get("/metrics").text
    for level in ("dense", "p50"):
        some = [answer for answer in answers if answer["level"] == level]
        predictions = [each for answer in some for each in answer["predictions"]]
        drawn = sum(each["monte_carlo"]["draws"] for each in predictions)
        names = {"level": level, "model": "digits", "version": some[0]["version"]}
        asked = metric(text, "slimbayes_requests_total", outcome="answered", status="200", route="/predict", **names)
        assert asked == len(some) == 24
        for stage in ("read", "decode", "queue", "inference"):
            assert metric(text, "slimbayes_stage_seconds_count", stage=stage, **names) == len(some)
        for decision, reason in (("accept", None), ("abstain", "uncertain"), ("abstain", "out_of_distribution")):
            decided = sum((each["decision"], each["reason"]) == (decision, reason) for each in predictions)
            labels = {"decision": decision, "reason": reason or "", **names}
            assert metric(text, "slimbayes_images_total", **labels) == decided
        for name in ("image_draws", "confidence", "entropy_nats", "mutual_information_nats"):
            assert metric(text, f"slimbayes_{name}_count", **names) == len(predictions)
        assert metric(text, "slimbayes_image_draws_sum", **names) == drawn
        confidence = sum(each["probability"] for each in predictions)
        assert metric(text, "slimbayes_confidence_sum", **names) == pytest.approx(confidence)
        size = catalog_of(fresh).model("digits").version(None).level(level).engine(1).bank.size
        assert metric(text, "slimbayes_batch_images_sum", **names) * size == drawn
        assert metric(text, "slimbayes_batch_images_count", **names) <= drawn / size
    took = sum(answer["timing_ms"]["inference"] for answer in answers) / 1000
    assert metric(text, "slimbayes_stage_seconds_sum", stage="inference") == pytest.approx(took)
    assert metric(text, "slimbayes_request_seconds_count", route="/predict") == len(answers)


def test_every_refusal_is_counted_by_its_kind(fresh: TestClient, example: bytes) -> None:
    """Kind and status, with the level where the request got as far as one."""
    usual = default_level(fresh)
    fresh.post("/predict", headers=PNG)
    fresh.post("/predict", params={"level": "p51"}, content=example, headers=PNG)
    fresh.post("/predict", content=b"x" * (2**25 + 1), headers=PNG)
    fresh.post("/predict", content=b"no picture", headers=PNG)
    fresh.post("/predict", content=example[:60], headers=PNG)
    fresh.post("/predict", params={"samples": "0"}, content=example, headers=PNG)
    fresh.post("/predict", params={"top_k": "0"}, content=example, headers=PNG)
    fresh.post("/predict", params={"deadline_ms": 1e-6, "level": "p50"}, content=example, headers=PNG)
    fresh.get("/predict")
    fresh.get("/nowhere")
    text = fresh.get("/metrics").text
    for reason, status, level, count in (
        ("malformed", "400", usual, 1),
        ("unknown_name", "404", "", 1),
        ("too_large", "413", usual, 1),
        ("media_type", "415", usual, 1),
        ("undecodable", "422", usual, 1),
        ("parameter", "422", "", 2),
        ("deadline", "504", "p50", 1),
        ("method_not_allowed", "405", "", 1),
    ):
        labels = {"outcome": "refused", "reason": reason, "status": status, "level": level, "route": "/predict"}
        assert metric(text, "slimbayes_requests_total", **labels) == count, labels
    assert metric(text, "slimbayes_requests_total", reason="not_found", route="other", status="404") == 1
    assert metric(text, "slimbayes_images_total") == 0
    assert metric(text, "slimbayes_request_seconds_count", route="/predict") == 0


def test_overload(fresh: TestClient, example: bytes) -> None:
    """Who is turned away is counted, and the queue is shown as it is."""
    admission = fresh.app.state.service.repository.runtime.admission  # type: ignore[attr-defined]
    with admission.admit(admission.limit, 0.0):
        assert fresh.post("/predict", content=example, headers=PNG).status_code == 503
        text = fresh.get("/metrics").text
    assert metric(text, "slimbayes_queue_draws") == metric(text, "slimbayes_queue_capacity_draws") == 65_536
    assert metric(text, "slimbayes_requests_total", reason="overloaded", status="503", level=default_level(fresh)) == 1
    assert metric(fresh.get("/metrics").text, "slimbayes_queue_draws") == 0


def test_degraded(digits_store: Path, example: bytes) -> None:
    """The step is shown, and answers with less are counted as such."""
    with Warm(digits_store, overload="degrade") as client:
        admission = client.app.state.service.repository.runtime.admission  # type: ignore[attr-defined]
        served = client.app.state.service.repository.model(None).version(None).level(None)  # type: ignore[attr-defined]
        with admission.admit(1, 60.0):
            # Two draws just have the time.
            admission.latency.slope = 0.4 / (2 * served.seconds(1, 2.0, 2))
            assert client.post("/predict", content=example, headers=PNG).json()["degraded"]
            assert metric(client.get("/metrics").text, "slimbayes_degradation_step") > 0
        text = client.get("/metrics").text
        assert metric(text, "slimbayes_degraded_requests_total") == 1
        assert metric(text, "slimbayes_degradation_step") == 0


def test_clients_make_no_series(fresh: TestClient, example: bytes) -> None:
    """Whatever names, paths and methods they make up, there are no more series than after the first of them."""

    def made_up(number: int) -> None:
        name = f"made-up-{number}"
        for key in ("model", "version", "level", name):
            fresh.post("/predict", params={key: name}, content=example, headers=PNG | {"x-request-id": name})
        fresh.get(f"/{name}")
        fresh.get(f"/models/{name}/versions/{name}")
        fresh.request(f"M{number}", "/predict")

    def series() -> set[str]:
        return {line.rpartition(" ")[0] for line in fresh.get("/metrics").text.splitlines()}

    fresh.get("/metrics")
    made_up(0)
    before = series()
    for number in range(1, 20):
        made_up(number)
    assert series() == before
    assert "made-up" not in "".join(before)


def test_two_services_share_nothing(digits_store: Path, fresh: TestClient, example: bytes) -> None:
    """Each has a registry of its own."""
    fresh.post("/predict", content=example, headers=PNG)
    with Warm(digits_store) as other:
        assert requests(fresh, route="/predict") == 1
        assert requests(other, route="/predict") == 0


def test_banks(fresh: TestClient, example: bytes) -> None:
    """Memory, builds and their seconds by level; more draws than there were are another build."""
    text = fresh.get("/metrics").text
    usual = default_level(fresh)
    assert metric(text, "slimbayes_ready") == 1
    assert metric(text, "slimbayes_build_info") == 1
    assert metric(text, "slimbayes_bank_builds_total", level=usual) == 1
    bank = metric(text, "slimbayes_bank_bytes", level=usual)
    assert 0 < bank < metric(text, "process_resident_memory_bytes")
    fresh.post("/predict", params={"samples": 128, "level": usual}, content=example, headers=PNG)
    text = fresh.get("/metrics").text
    assert metric(text, "slimbayes_bank_builds_total", level=usual) == 2
    assert metric(text, "slimbayes_bank_bytes", level=usual) > bank
    assert metric(text, "slimbayes_bank_build_seconds_total", level=usual) > 0
    for unasked in {"dense", "p50", "p90"} - {usual}:
        assert metric(text, "slimbayes_bank_builds_total", level=unasked) == 0


def test_a_single_draw_has_no_mutual_information(fresh: TestClient, example: bytes) -> None:
    """It would be zero, and say that nothing is amiss."""
    fresh.post("/predict", params={"samples": 1}, content=example, headers=PNG)
    text = fresh.get("/metrics").text
    assert metric(text, "slimbayes_confidence_count") == 1
    assert metric(text, "slimbayes_mutual_information_nats_count") == 0


def post(client: TestClient, pictures: list[np.ndarray], **query: Any) -> None:
    """Have all of these pictures answered."""
    for first in range(0, len(pictures), 32):
        files = [("images", (f"{first}", png(picture))) for picture in pictures[first : first + 32]]
        assert client.post("/predict", params=query, files=files).status_code == 200


def drift(client: TestClient) -> dict[str, float | None]:
    """What `GET /status` says of the one level that answered; it must be what `GET /metrics` says."""
    (level,) = client.get("/status").json()["levels"]
    text, found = client.get("/metrics").text, level["drift"]
    for statistic in ("confidence", "entropy", "mutual_information"):
        shown = metric(text, "slimbayes_drift", statistic=statistic, level=level["level"])
        assert shown == pytest.approx(found[statistic] or 0.0)
    return found


def test_drift(fresh: TestClient) -> None:
    """The images that the reference was taken of have no drift, mixtures of two have; a few images say nothing."""
    digits = list(load_dataset("digits", None, seed=0).test.pixels[..., 0].numpy())
    post(fresh, digits[:190])
    assert drift(fresh) == {"count": 190, "confidence": None, "entropy": None, "mutual_information": None}
    post(fresh, digits[190:])
    known = drift(fresh)
    assert known.pop("count") == len(digits)
    # Other draws of the same network on the same images: the index leaves noise only, whatever machine trained it.
    assert max(value or 0.0 for value in known.values()) < 0.1
    shifted = [other for shift in (1, 2, 3) for other in digits[shift:] + digits[:shift]]
    post(fresh, [one // 2 + other // 2 for one, other in zip(3 * digits, shifted, strict=True)][:1000])
    strange = drift(fresh)
    assert strange.pop("count") == 1000
    assert min(value or 0.0 for value in strange.values()) > 0.25


@pytest.mark.parametrize("kind", ["noise", "crops"])
def test_drift_of_mutual_information(fresh: TestClient, kind: str) -> None:
    """On pictures of no digit the draws disagree otherwise than on digits, though by little of ln 10 nats."""
    post(fresh, list(load_dataset("digits", None, seed=0).out_of_distribution[kind][..., 0].numpy()))
    found = drift(fresh)
    assert found["count"] == 500
    assert (found["mutual_information"] or 0.0) > 0.2


def test_drift_of_the_zoo() -> None:
    """Noise is nothing that a network for photographs knows."""
    with Warm(ZOO) as client:
        rng = np.random.default_rng(0)
        post(client, list(rng.integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)), samples=4)
        found = drift(client)
        assert found["count"] == 200
        assert (found["confidence"] or 0.0) > 1
        assert (found["entropy"] or 0.0) > 1
