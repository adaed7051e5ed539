"""`POST /feedback` through the whole service: what labels say is in `/status` and `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.client import AsyncClient, Client
from service.errors import ClientError
from tests.support.http import PNG, ask, metric, refusal
from tests.support.images import png
from tests.support.open_inference import INFER
from tests.support.services import PATIENT_MS, Warm, running_service
from training.data import load_dataset


@pytest.fixture(scope="module")
def listening(digits_store: Path) -> Iterator[TestClient]:
    """A service that takes labels."""
    with Warm(digits_store, feedback=500, max_images=64, max_wait_ms=PATIENT_MS) as client:
        yield client


@pytest.fixture(scope="module")
def pictures() -> tuple[list[bytes], list[str]]:
    """Sixty held-out digits as PNG, and their labels."""
    test = load_dataset("digits", None, seed=0).test.spread(60)
    return [png(pixels[..., 0]) for pixels in test.pixels.numpy()], [str(label) for label in test.labels.tolist()]


def post(client: TestClient, **document: Any) -> Any:
    return client.post("/feedback", json=document)


def live(client: TestClient, name: str) -> Any:
    """What labels say of a level; each test asks another one."""
    (level,) = (each for each in client.get("/status").json()["levels"] if each["level"] == name)
    return level["live"]


def test_figures_are_those_of_the_answers(listening: TestClient, pictures: tuple[list[bytes], list[str]]) -> None:
    files = [("images", (f"{number}.png", data)) for number, data in enumerate(pictures[0])]
    answer = listening.post("/predict", files=files, params={"alpha": 0.05, "level": "p90"}).json()
    assert live(listening, "p90") is None
    for number, label in enumerate(pictures[1]):
        response = post(listening, request_id=answer["request_id"], image=number, label=label)
        assert response.json() == {"request_id": answer["request_id"], "image": number}
    predictions = answer["predictions"]
    right = [each["label"] == label for each, label in zip(predictions, pictures[1], strict=True)]
    accepted = [each["decision"] == "accept" for each in predictions]
    covered = [label in each["prediction_set"] for each, label in zip(predictions, pictures[1], strict=True)]
    found = live(listening, "p90")
    assert found["labels"] == 60
    assert found["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert found["accepted_accuracy"]["value"] == pytest.approx(np.mean(np.array(right)[accepted]))
    assert found["accepted_accuracy"]["images"] == sum(accepted)
    assert found["coverage"].keys() == {"0.05"}
    assert found["coverage"]["0.05"]["value"] == pytest.approx(np.mean(covered))
    assert not found["coverage"]["0.05"]["below"]
    for figure in ("accuracy", "accepted_accuracy", "ece"):
        assert found[figure]["low"] <= found[figure]["value"] <= found[figure]["high"]
    text, own = listening.get("/metrics").text, {"level": "p90"}
    assert metric(text, "slimbayes_feedback_labels_total", model="digits", **own) == 60
    for bound in ("value", "low", "high"):
        accuracy = metric(text, "slimbayes_live_accuracy", bound=bound, among="all", **own)
        assert accuracy == pytest.approx(found["accuracy"][bound])
        assert metric(text, "slimbayes_live_ece", bound=bound, **own) == pytest.approx(found["ece"][bound])
        coverage = metric(text, "slimbayes_live_coverage", bound=bound, alpha="0.05", **own)
        assert coverage == pytest.approx(found["coverage"]["0.05"][bound])
    assert metric(text, "slimbayes_live_coverage_p_value", alpha="0.05", **own) > 0.001


def test_labels_that_sets_do_not_hold_raise_the_alarm(
    listening: TestClient, pictures: tuple[list[bytes], list[str]]
) -> None:
    """Labels that are wrong stand for pictures that are another thing."""
    files = [("images", (f"{number}.png", data)) for number, data in enumerate(pictures[0])]
    answer = listening.post("/predict", files=files, params={"level": "p50"}).json()
    for number, each in enumerate(answer["predictions"]):
        outside = next(label for label in map(str, range(10)) if label not in each["prediction_set"])
        assert post(listening, request_id=answer["request_id"], image=number, label=outside).status_code == 200
    coverage = live(listening, "p50")["coverage"]["0.1"]
    assert (coverage["value"], coverage["below"]) == (0.0, True)
    assert metric(listening.get("/metrics").text, "slimbayes_live_coverage_p_value", level="p50") < 0.001


def test_a_label_is_taken_once_and_for_what_was_answered(listening: TestClient, example: bytes) -> None:
    answer = ask(listening, example, level="dense")
    name = answer["request_id"]
    assert "no answer to request 'never'" in refusal(post(listening, request_id="never", label="1"), 404)
    assert "there is no image 1" in refusal(post(listening, request_id=name, image=1, label="1"), 404)
    assert "is no class of the model" in refusal(post(listening, request_id=name, label="cat"), 422)
    assert post(listening, request_id=name, label="1").status_code == 200
    assert "has a label already" in refusal(post(listening, request_id=name, label="1"), 409)


def test_ids_may_be_the_clients_own(listening: TestClient, example: bytes) -> None:
    """X-Request-ID for pictures; the document's id for tensors, or the answer's X-Request-ID without one."""
    listening.post("/predict", content=example, headers=PNG | {"X-Request-ID": "mine-1"})
    assert post(listening, request_id="mine-1", label="1").status_code == 200
    pixels = {"name": "images", "shape": [1, 8, 8, 1], "datatype": "UINT8", "data": [0] * 64}
    assert listening.post(INFER, json={"id": "tensor one", "inputs": [pixels]}).status_code == 200
    assert post(listening, request_id="tensor one", label="1").status_code == 200
    nameless = listening.post(INFER, json={"inputs": [pixels]})
    assert post(listening, request_id=nameless.headers["x-request-id"], label="1").status_code == 200
    long = listening.post(INFER, json={"id": "x" * 257, "inputs": [pixels]})
    assert post(listening, request_id=long.headers["x-request-id"], label="1").status_code == 200


def test_answers_are_the_same_with_feedback_and_without(
    listening: TestClient, client: TestClient, example: bytes
) -> None:
    predictions = [ask(each, example, samples=8)["predictions"] for each in (listening, client)]
    assert predictions[0] == predictions[1]


def test_it_is_off_by_default(client: TestClient, example: bytes) -> None:
    name = ask(client, example)["request_id"]
    says = refusal(post(client, request_id=name, label="1"), 404)
    assert says == "this service takes no feedback: start it with --feedback"


def test_clients_send_labels(digits_store: Path, example: bytes) -> None:
    with running_service(digits_store, "--feedback", "10") as (url, _):
        answer = Client(url).predict([example, example])
        Client(url).feedback(answer, "1")
        asyncio.run(AsyncClient(url).feedback(answer.request_id, "1", image=1))
        with pytest.raises(ClientError, match="has a label already") as refused:
            Client(url).feedback(answer, "1")
    assert refused.value.status == 409
