"""Hosts, origins, and what browsers are told."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from service.api.v2.schemas import HEADER
from service.app import create_app
from service.http.middleware import SECURITY_HEADERS
from service.settings import Settings
from tests.support.http import PNG, refusal
from tests.support.project import PROJECT
from tests.support.services import running_service


@pytest.fixture(scope="module")
def guarded(digits_store: Path) -> TestClient:
    settings = Settings(
        store=digits_store, trusted_hosts="api.example.org,*.example.net", cors_origins="https://app.example.org"
    )
    return TestClient(create_app(settings), raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("api.example.org", True),
        ("API.example.org:8000", True),
        ("a.b.example.net", True),
        ("example.net", False),
        ("badexample.net", False),
        ("api.example.org.evil.test", False),
        ("127.0.0.1", False),
        ("[::1]:8000", False),
        ("", False),
    ],
)
def test_trusted_hosts(guarded: TestClient, host: str, known: bool) -> None:
    """Who asks for another host is refused, with a problem document; probes come by address."""
    response = guarded.get("/models", headers={"host": host})
    if known:
        assert response.status_code == 200
    else:
        assert "does not answer to" in refusal(response, 421)
    assert guarded.get("/livez", headers={"host": host}).status_code == 200


def test_any_host_by_default(client: TestClient) -> None:
    assert client.get("/models", headers={"host": "whoever.test"}).status_code == 200


def test_cors(guarded: TestClient) -> None:
    """The origin that was named may ask, with its key, and read refusals; no other may."""
    host = {"host": "api.example.org"}
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin, allowed in (("https://app.example.org", "https://app.example.org"), ("https://evil.test", None)):
        preflight = guarded.options("/predict", headers=host | asks | {"Origin": origin})
        refused = guarded.get("/models/none", headers=host | {"Origin": origin})
        assert refused.status_code == 404
        for response in (preflight, refused):
            assert response.headers.get("access-control-allow-origin") == allowed
        assert preflight.status_code == (200 if allowed else 400)


def test_cors_lists_every_header_that_is_read_or_sent(guarded: TestClient) -> None:
    """Names are searched for in the code, however the header is reached, and in the documented parameters."""
    read, sent = headers_read(), headers_sent()
    parameters = [
        each["name"]
        for methods in guarded.get("/openapi.json", headers={"host": "api.example.org"}).json()["paths"].values()
        for operation in methods.values()
        for each in operation.get("parameters", [])
        if each["in"] == "header"
    ]
    read |= {name.lower() for name in parameters}
    assert {"authorization", "content-encoding", "inference-header-content-length", "traceparent", "x-api-key"} <= read
    assert {"inference-header-content-length", "retry-after", "www-authenticate", "x-request-id"} <= sent
    headers = {"host": "api.example.org", "Origin": "https://app.example.org"}
    asked = headers | {"Access-Control-Request-Method": "POST"}
    for name in sorted(read - FORBIDDEN - OTHERS):
        response = guarded.options("/predict", headers=asked | {"Access-Control-Request-Headers": name})
        assert response.status_code == 200, name
    exposed = guarded.get("/livez", headers=headers).headers["access-control-expose-headers"].lower().split(", ")
    assert sent - SAFELISTED - set(SECURITY) <= set(exposed)


# Headers that scripts may not set, and responses' that they may always read (Fetch, sections 2.2.2 and 2.2.6).
FORBIDDEN = {"accept-encoding", "content-length", "host", "connection", "expect", "transfer-encoding", "upgrade"}
SAFELISTED = {"cache-control", "content-length", "content-type"} | FORBIDDEN
SECURITY = [name.lower() for name in SECURITY_HEADERS]
# Read of responses, and of the parts of a form.
OTHERS = {"allow", "content-disposition"}
CODE = [
    path.read_text()
    for folder in ("api", "http", "observability", "pipeline")
    for path in (PROJECT / "service" / folder).rglob("*.py")
] + [(PROJECT / "service" / "errors.py").read_text()]


def headers_read() -> set[str]:
    """What is looked up in `headers`, compared with a name of bytes, or listed as a constant of such names."""
    found = set()
    for text in CODE:
        found |= set(re.findall(r"""headers(?:\.get\(|\[)"([\w-]+)\"""", text))
        found |= {m for m in re.findall(r"""b"([a-z]+(?:-[a-z]+)*)\"""", text) if "headers" in text and m in KNOWN}
        if "headers.get(HEADER" in text:
            found.add(HEADER)
    return {name.lower() for name in found}


def headers_sent() -> set[str]:
    """Names in the form of headers that are keys, or are set."""
    keys = re.compile(r"""["]((?:[A-Z][A-Za-z]*-)*[A-Z][A-Za-z]*)["](?::|\] = )""")
    found = {name.lower() for text in CODE for name in keys.findall(text)}
    return (found & KNOWN) | {HEADER.lower()}


# Fields of HTTP (IANA's registry, those that services use) and ours.
KNOWN = {
    *("accept", "accept-encoding", "accept-language", "age", "allow", "authorization", "cache-control", "connection"),
    *("content-disposition", "content-encoding", "content-language", "content-length", "content-type", "cookie"),
    *("date", "etag", "expect", "forwarded", "host", "if-match", "if-modified-since", "if-none-match", "last-modified"),
    *("link", "location", "origin", "prefer", "priority", "range", "referer", "retry-after", "server-timing"),
    *("set-cookie", "traceparent", "tracestate", "baggage", "transfer-encoding", "upgrade", "user-agent", "vary"),
    *("warning", "www-authenticate", "x-api-key", "x-forwarded-for", "x-request-id", "deprecation", "sunset"),
    *("idempotency-key", "digest", "content-digest", "accept-post", "ratelimit", "ratelimit-policy"),
}


def test_no_cors_by_default(client: TestClient) -> None:
    response = client.get("/models", headers={"Origin": "https://app.example.org"})
    assert not any(name.startswith("access-control") for name in response.headers)


def test_security_headers(client: TestClient, example: bytes) -> None:
    """On answers, refusals and pages alike."""
    for response in (
        client.get("/livez"),
        client.get("/nothing"),
        client.post("/predict", content=example, headers=PNG),
        client.get("/docs/"),
    ):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_proxies_are_believed_where_they_are_named(digits_store: Path, example: bytes) -> None:
    """The rate is that of the address that a proxy names, and of nobody else's word."""
    for flags, status in (((), 429), (("--proxies", "127.0.0.0/8"), 200)):
        with running_service(digits_store, "--rate-limit", "1/hour", *flags) as (url, _):
            for address, expected in (("192.0.2.1", 200), ("192.0.2.2", status)):
                headers = PNG | {"X-Forwarded-For": address}
                assert httpx.post(f"{url}/predict", content=example, headers=headers).status_code == expected


def test_request_id_is_taken_and_returned(client: TestClient, example: bytes) -> None:
    """A plain id of the client's is echoed; anything else is replaced."""
    response = client.post("/predict", content=example, headers=PNG | {"x-request-id": "order-66"})
    assert response.json()["request_id"] == response.headers["x-request-id"] == "order-66"
    odd = client.post("/predict", content=example, headers=PNG | {"x-request-id": "a b\tc"})
    assert odd.headers["x-request-id"] not in ("", "a b\tc")
