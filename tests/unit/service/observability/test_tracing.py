"""Spans of real requests, in memory and at a real collector's door."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service.errors import StartupError
from service.inference.engine import Engine
from service.observability.tracing import Tracing
from service.settings import Settings
from tests.support.http import PNG
from tests.support.services import Warm, running_service
from tests.support.waiting import HANG_S

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["read", "decode", "queue", "inference"]


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """What the traced service handed on."""
    return InMemorySpanExporter()


@pytest.fixture
def traced(digits_store: Path, spans: InMemorySpanExporter) -> Iterator[TestClient]:
    """A ready service whose spans are kept."""
    with Warm(digits_store, Tracing(SimpleSpanProcessor(spans))) as client:
        spans.clear()
        yield client


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Its trace and itself."""
    context = span.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def test_one_span_a_stage(traced: TestClient, spans: InMemorySpanExporter, example: bytes) -> None:
    """Under one a request, which goes on with the client's trace; they follow each other within it."""
    headers = PNG | {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "seen"}
    answer = traced.post("/predict?level=p50", content=example, headers=headers).json()
    *stages, request = spans.get_finished_spans()
    assert (request.name, request.kind) == ("POST /predict", SpanKind.SERVER)
    assert ids(request)[0] == TRACE
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT
    assert request.attributes is not None
    assert (
        request.attributes.items()
        >= {
            "http.route": "/predict",
            "http.response.status_code": 200,
            "slimbayes.request_id": "seen",
            "slimbayes.level": "p50",
            "slimbayes.images": 1,
            "slimbayes.draws": answer["predictions"][0]["monte_carlo"]["draws"],
        }.items()
    )
    assert [span.name for span in stages] == STAGES
    assert {(ids(span)[0], span.parent and span.parent.span_id) for span in stages} == {
        (TRACE, request.get_span_context().span_id)
    }
    inner = [time or 0 for span in stages for time in (span.start_time, span.end_time)]
    times = [request.start_time or 0, *inner, request.end_time or 0]
    assert times == sorted(times)
    for span in stages[1:]:
        took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
        assert took == pytest.approx(answer["timing_ms"][span.name], abs=0.01)


def test_own_trace(traced: TestClient, spans: InMemorySpanExporter) -> None:
    """Without a client's, or with one that is no trace, each request begins its own."""
    for headers in ({}, {"traceparent": "nonsense"}, {"traceparent": f"00-{'0' * 32}-{PARENT}-01"}):
        traced.get("/models", headers=headers)
    found = spans.get_finished_spans()
    assert [span.name for span in found] == 3 * ["GET /models"]
    assert len({ids(span)[0] for span in found}) == 3
    assert all(span.parent is None for span in found)


def test_clients_who_do_not_want_it(traced: TestClient, spans: InMemorySpanExporter) -> None:
    """A trace that its client does not sample is not sampled here."""
    traced.get("/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert spans.get_finished_spans() == ()


def test_how_it_ended(
    traced: TestClient, spans: InMemorySpanExporter, example: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals have their stages until then; only what failed here is an error."""
    traced.post("/predict", content=b"no picture", headers=PNG)
    monkeypatch.setattr(Engine, "run", lambda *_: 1 / 0)
    traced.post("/predict", content=example, headers=PNG)
    requests = [span for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert [span.status.status_code for span in requests] == [StatusCode.UNSET, StatusCode.ERROR]
    assert [span.attributes and span.attributes["slimbayes.outcome"] for span in requests] == ["refused", "failed"]
    assert [span.name for span in spans.get_finished_spans()][:3] == ["read", "decode", "POST /predict"]


class Collector(BaseHTTPRequestHandler):
    """Takes what a service sends, as a collector would."""

    names: tuple[str, ...] = ()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        sent = ExportTraceServiceRequest.FromString(body)
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                Collector.names += tuple(span.name for span in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


def test_a_process_sends_them(digits_store: Path, example: bytes) -> None:
    """To the collector that the settings name, at the latest when it ends."""
    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        Thread(target=collector.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        with running_service(digits_store, "--traces", where) as (url, process):
            httpx.post(f"{url}/predict", content=example, headers=PNG)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=HANG_S)
            assert (process.returncode, errors) == (0, "")
        collector.shutdown()
    assert [name for name in Collector.names if name != "GET /readyz"] == [*STAGES, "POST /predict"]


def test_a_collector_that_is_not_there(digits_store: Path, example: bytes) -> None:
    """The service answers all the same, and ends in time."""
    with running_service(digits_store, "--traces", "http://127.0.0.1:1/v1/traces") as (url, process):
        assert httpx.post(f"{url}/predict", content=example, headers=PNG).status_code == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=HANG_S)
        assert process.returncode == 0


def test_without_the_extra(digits_store: Path) -> None:
    """Asking for traces says what to install; not asking needs nothing."""
    program = "import sys; sys.modules['opentelemetry.sdk'] = sys.modules['opentelemetry.exporter'] = None\n"
    arguments = ["slimbayes", "serve", "--store", str(digits_store), "--port", "0", "--traces", "http://x"]
    program += f"sys.argv = {arguments!r}\n"
    program += "from service.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert result.returncode == 1
    assert "pip install 'slimbayes[tracing]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_only_urls(digits_store: Path) -> None:
    with pytest.raises(StartupError, match="setting traces"):
        Settings.read(traces="localhost:4318")
