"""Ask a service in this process, and read its answers, refusals and metrics."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

PNG = {"content-type": "image/png"}


def ask(client: TestClient, picture: bytes, **query: Any) -> dict[str, Any]:
    """The prediction for one raw image."""
    response = client.post("/predict", params=query, content=picture, headers=PNG)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def refusal(response: Any, status: int) -> str:
    """The detail of a problem document, which must be whole and give nothing away."""
    problem = response.json()
    assert response.status_code == status, problem
    assert response.headers["content-type"] == "application/problem+json"
    assert set(problem) - {"image"} == {"type", "title", "status", "detail", "request_id"}
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    for secret in ("Traceback", "/tmp", ".py", "onnx", "site-packages"):
        assert secret not in problem["detail"]
    return str(problem["detail"])


def metric(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert samples
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def requests(client: TestClient, **labels: str) -> float:
    """Requests that ended so."""
    return metric(client.get("/metrics").text, "slimbayes_requests_total", **labels)
