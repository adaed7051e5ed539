"""The short way to a route answers as the framework would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.fast_path import FastPathMiddleware
from service.settings import Settings

INFER = "/v2/models/digits/infer"
QUERIES = (
    "",
    "samples=4&draws=true&top_k=2&alpha=0.05",
    "samples=3&samples=2",
    "samples=",
    "level=p50&level=dense",
    "level=none",
    "top_k=0",
    "top_k=two&deadline_ms=-1",
    "draws=maybe",
    "colour=red",
    "model=%C3%A4&version=a+b",
    "&&=&top_k",
)


@pytest.fixture(scope="module")
def both(digits_store: Path) -> Iterator[tuple[TestClient, TestClient]]:
    """A service, and the same without its short way."""
    direct, framework = (create_app(Settings(store=digits_store)) for _ in range(2))
    framework.user_middleware = [each for each in framework.user_middleware if each.cls is not FastPathMiddleware]
    with TestClient(direct) as one, TestClient(framework) as other:
        yield one, other


def told(client: TestClient, method: str, url: str, **more: Any) -> tuple[int, Any, dict[str, str]]:
    """What was answered, but for what differs from request to request."""
    response = client.request(method, url, headers={"X-Request-ID": "same"} | more.pop("headers", {}), **more)
    said = response.json() if response.content else None
    if isinstance(said, dict):
        said.pop("timing_ms", None)
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return response.status_code, said, headers


@pytest.mark.parametrize("query", QUERIES)
def test_parameters(both: tuple[TestClient, TestClient], example: bytes, query: str) -> None:
    """Good and bad ones, given twice or without a value."""
    direct, framework = (
        told(client, "POST", f"/predict?{query}", content=example, headers={"Content-Type": "image/png"})
        for client in both
    )
    assert direct == framework


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/predict"),
        ("OPTIONS", "/predict"),
        ("POST", "/predict/"),
        ("POST", "/predict"),
        ("POST", INFER),
        ("GET", INFER),
        ("POST", "/v2/models/none/infer"),
        ("POST", "/v2/models/di%67its/versions/none/infer"),
        ("POST", "/v2/models/a%2Fb/infer"),
    ],
)
def test_paths(both: tuple[TestClient, TestClient], method: str, path: str) -> None:
    """Other methods, other paths, names that are escaped, and no body."""
    direct, framework = (told(client, method, path) for client in both)
    assert direct == framework


def test_counted_alike(both: tuple[TestClient, TestClient], example: bytes) -> None:
    """By the same routes, statuses and reasons."""
    counted = []
    for client in both:
        client.post("/predict?top_k=none", content=example)
        client.post("/predict", content=example, headers={"Content-Type": "image/png"})
        client.post(INFER, content=b"{}")
        lines = client.get("/metrics").text.splitlines()
        counted.append({line.rpartition(" ")[0] for line in lines if line.startswith("slimbayes_requests_total")})
    direct, framework = counted
    assert direct == framework
    assert all(any(f'route="{route}"' in line for line in direct) for route in ("/predict", "/v2/models/{model}/infer"))
