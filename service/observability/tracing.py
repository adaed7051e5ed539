"""Export OpenTelemetry traces: a span for each request, in the client's trace if it began one, and one for each stage.

Needs the `tracing` extra. Spans are made from a request's context once it is over, so tracing adds no latency. OTEL_…
environment variables are honoured as OpenTelemetry defines them: sampling, headers, resources.
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

# Seconds for a collector to answer; an unreachable one must not delay shutdown.
TIMEOUT_S = 3.0
HEADERS = (b"traceparent", b"tracestate")


class Tracing:
    """Make spans of requests and hand them to a processor."""

    def __init__(self, processor: SpanProcessor) -> None:
        resource = Resource.create({"service.name": "slimbayes", "service.version": version("slimbayes")})
        # Not the global provider: several applications in a process may trace to different collectors.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("slimbayes.service")

    @classmethod
    def to_collector(cls, url: str) -> Tracing:
        """Send spans to an OTLP/HTTP collector in the background; spans that it does not accept are dropped."""
        return cls(BatchSpanProcessor(OTLPSpanExporter(url, timeout=TIMEOUT_S)))

    def record(self, context: RequestContext, outcome: RequestOutcome, scope: Scope, ended: float) -> str:
        """Make the spans of a request that ended at `ended`, in seconds of `time.monotonic`; return the trace id."""
        given = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in HEADERS}
        offset = time_ns() - monotonic_ns()

        def at(seconds: float) -> int:
            return offset + int(1e9 * seconds)

        span = self._tracer.start_span(
            f"{outcome.method} {outcome.route}",
            context=TraceContextTextMapPropagator().extract(given),
            kind=SpanKind.SERVER,
            attributes=_attributes(context, outcome, scope),
            start_time=at(context.begun),
        )
        for stage, (stage_begun, stage_ended) in context.stages.items():
            part = self._tracer.start_span(stage, context=set_span_in_context(span), start_time=at(stage_begun))
            part.end(at(stage_ended))
        if outcome.outcome == "failed":
            span.set_status(StatusCode.ERROR, outcome.reason)
        span.end(at(ended))
        return format_trace_id(span.get_span_context().trace_id)

    def close(self) -> None:
        """Flush pending spans."""
        self._provider.shutdown()


def _attributes(context: RequestContext, outcome: RequestOutcome, scope: Scope) -> dict[str, AttributeValue]:
    """Collect attributes, by OpenTelemetry's semantic conventions where they exist; never a query or body."""
    attributes: dict[str, AttributeValue] = {
        "http.request.method": outcome.method,
        "http.route": outcome.route,
        "slimbayes.request_id": scope["state"].get("request_id", ""),
        "slimbayes.outcome": outcome.outcome,
    }
    if outcome.status:
        attributes["http.response.status_code"] = int(outcome.status)
    if outcome.reason:
        attributes["slimbayes.reason"] = outcome.reason
    if context.level is not None:
        manifest = context.level.manifest
        attributes |= {
            "slimbayes.model": manifest.model,
            "slimbayes.version": manifest.version,
            "slimbayes.level": context.level.level.name,
            "slimbayes.images": context.images,
            "slimbayes.draws": context.draws,
        }
    return attributes
