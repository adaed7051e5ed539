"""OpenTelemetry traces: one span a stage under one span a request, in the trace that the client began, if it did.

Needs the `tracing` extra. A request's spans are made once it is over, from its account, so that tracing takes none of
the answer's time. What OpenTelemetry itself reads from OTEL_… in the environment holds too: sampling, headers, and
resources.
"""

from __future__ import annotations

from importlib.metadata import version
from time import monotonic_ns, time_ns

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue
from starlette.types import Scope

from service.pipeline.context import RequestContext
from service.stats import RequestOutcome

# Seconds for a collector to answer in; one that does not must not hold up the end of the service.
TIMEOUT = 3.0
HEADERS = (b"traceparent", b"tracestate")


class Tracing:
    """Makes spans of requests and hands them to a processor."""

    def __init__(self, processor: SpanProcessor) -> None:
        resource = Resource.create({"service.name": "slimbayes", "service.version": version("slimbayes")})
        # Our own, not the process's: several applications may trace to different places.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("slimbayes.service")

    @classmethod
    def to(cls, url: str) -> Tracing:
        """Send spans to a collector that speaks OTLP over HTTP, in the background; what it does not take is dropped."""
        return cls(BatchSpanProcessor(OTLPSpanExporter(url, timeout=TIMEOUT)))

    def record(self, account: RequestContext, ending: RequestOutcome, scope: Scope, ended: float) -> str:
        """Make the spans of a request that ended at `ended`, in seconds of `time.monotonic`; returns the trace's id."""
        given = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in HEADERS}
        offset = time_ns() - monotonic_ns()

        def at(seconds: float) -> int:
            return offset + int(1e9 * seconds)

        span = self._tracer.start_span(
            f"{ending.method} {ending.route}",
            context=TraceContextTextMapPropagator().extract(given),
            kind=SpanKind.SERVER,
            attributes=_attributes(account, ending, scope),
            start_time=at(account.begun),
        )
        for stage, (stage_begun, stage_ended) in account.stages.items():
            part = self._tracer.start_span(stage, context=set_span_in_context(span), start_time=at(stage_begun))
            part.end(at(stage_ended))
        if ending.outcome == "failed":
            span.set_status(StatusCode.ERROR, ending.reason)
        span.end(at(ended))
        return format_trace_id(span.get_span_context().trace_id)

    def close(self) -> None:
        """Hand on what is still here."""
        self._provider.shutdown()


def _attributes(account: RequestContext, ending: RequestOutcome, scope: Scope) -> dict[str, AttributeValue]:
    """OpenTelemetry's own names where it has them; never a query or a body."""
    attributes: dict[str, AttributeValue] = {
        "http.request.method": ending.method,
        "http.route": ending.route,
        "slimbayes.request_id": scope["state"].get("request_id", ""),
        "slimbayes.outcome": ending.outcome,
    }
    if ending.status:
        attributes["http.response.status_code"] = int(ending.status)
    if ending.reason:
        attributes["slimbayes.reason"] = ending.reason
    if account.served is not None:
        manifest = account.served.manifest
        attributes |= {
            "slimbayes.model": manifest.model,
            "slimbayes.version": manifest.version,
            "slimbayes.level": account.served.level.name,
            "slimbayes.images": account.images,
            "slimbayes.draws": account.draws,
        }
    return attributes
