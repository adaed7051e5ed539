"""Hold the state of one application, and hand it to routes and middleware."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry
from starlette.requests import Request

from model_store.manifest import DEFAULT_ALPHA
from service.concurrency import BYTES_PER_S
from service.errors import (
    MalformedError,
    MediaTypeError,
    ParameterError,
    RequestError,
    SlowClientError,
    TooLargeError,
    UndecodableError,
)
from service.http.api_keys import Key, Keyring
from service.http.auth import authenticate
from service.http.content.body import read_body
from service.http.content.json_body import MAX_SMALL_BYTES, parse_small_json
from service.http.disconnect import until_disconnected
from service.http.rate_limit import RateLimiter, client_of
from service.inference.decision import Render, classes_answered, conformal_quantile
from service.observability.feedback import MAX_ID_CHARS, FeedbackMemory
from service.observability.request_stats import RequestStats
from service.pipeline.answer_size import AnswerSize
from service.pipeline.context import RequestContext
from service.pipeline.execution import execute, precheck, until
from service.pipeline.planning import Plan
from service.pipeline.preprocessing import EncodedBatch
from service.repository.repository import ModelRepository
from service.resources import resident_bytes
from service.scheduling.job import Job
from service.settings import Settings
from service.types import StoreState

# Refusals of what a request holds, which are found by reading it.
CONTENT_ERRORS = (
    *(MalformedError, MediaTypeError, ParameterError),
    *(SlowClientError, TooLargeError, UndecodableError),
)
Result = TypeVar("Result")
# Parsers that take less memory take well under a millisecond. Others run in another thread.
INLINE_PARSE_BYTES = 32 * 2**10


@dataclass
class ServiceState:
    """Share settings, models and statistics between routes; `ready` to answer, `draining` from SIGTERM on.

    `process_bytes` is the memory that the process takes besides networks and requests, with what its heap keeps.
    `feedback` remembers answers for labels, None where the service takes none.
    """

    settings: Settings
    repository: ModelRepository
    keyring: Keyring | None
    rate_limiter: RateLimiter
    stats: RequestStats
    metrics: CollectorRegistry
    feedback: FeedbackMemory | None = None
    ready: bool = False
    process_bytes: int = 0
    draining: threading.Event = field(default_factory=threading.Event)

    @property
    def answering(self) -> bool:
        """Return whether requests can be answered, and will be a moment from now."""
        return self.ready and not self.draining.is_set()

    @property
    def store(self) -> StoreState:
        """Return whether the store could be read at the last attempt."""
        return "reachable" if self.repository.unavailable_reason is None else "unreachable"

    def measure_process(self) -> None:
        """Measure `process_bytes`, at a moment when no request uses memory."""
        runtime = self.repository.runtime
        if self.ready and not any(runtime.request_memory.used.values()):
            self.process_bytes = resident_bytes() - runtime.memory.used

    def authenticate(self, request: Request) -> Key | None:
        """Return the key that a request carries; raise UnauthorizedError."""
        return authenticate(request, self.keyring)

    async def read_body(self, request: Request, max_bytes: int | None = None) -> bytes:
        """Read a request's body within the limits of the settings, and `max_bytes` if given; raise RequestError."""
        settings, runtime, context = self.settings, self.repository.runtime, context_of(request)
        context.body = context.reserve(runtime.request_memory, "bodies")
        limit, receive_s = min(max_bytes or settings.max_body_bytes, settings.max_body_bytes), settings.receive_seconds
        body = await read_body(request, limit, receive_s, runtime.workers, context.body)
        context.received = time.monotonic()
        return body

    async def parse(
        self, request: Request, work: Callable[[], Result], nbytes: int, deadline_s: float | None = None
    ) -> Result:
        """Parse a body with at most so many bytes beside it, in another thread if they are many.

        Raises what `work` does, and RequestError.
        """
        context = context_of(request)
        if nbytes <= INLINE_PARSE_BYTES:
            return work()
        with until_disconnected(request), until(context.latest(deadline_s)):
            await context.body.grow(nbytes, "the body")
            return await self.repository.runtime.workers.run(lambda _: work(), nbytes / BYTES_PER_S)

    async def read_document(self, request: Request) -> Any:
        """Read the small JSON document of an administrative request, empty without a body; raise RequestError."""
        body = await self.read_body(request, MAX_SMALL_BYTES)
        return await self.parse(request, partial(parse_small_json, body), len(body))

    def precheck(self, request: Request, plan: Plan) -> None:
        """Refuse a request before its body is read; raise RequestError."""
        client = client_of(request)
        precheck(plan, self.repository.runtime.admission, lambda: self.rate_limiter.check(client, 1))

    def charge(self, request: Request, error: RequestError) -> None:
        """Count a request that is refused for its content as one image of its client, unless its images are counted."""
        if isinstance(error, CONTENT_ERRORS) and not request.state.counted:
            self.rate_limiter.charge(client_of(request))

    async def execute(
        self,
        request: Request,
        plan: Plan,
        batch: EncodedBatch,
        render: Render,
        size: AnswerSize,
        *,
        alpha: float | None = None,
        request_id: str | None = None,
    ) -> Job:
        """Compute the images of a request; the job holds an `ImageResult` for each. Raises RequestError.

        Where answers are remembered, this one is under the request's id, by default that of the service, with its
        prediction sets at `alpha`.
        """
        client, classes_of = client_of(request), None
        if self.feedback is not None:
            classes_of = partial(classes_answered, conformal_quantile(alpha, plan.level.level))

        def count_images() -> None:
            self.rate_limiter.spend(client, batch.count)
            request.state.counted = True

        with until_disconnected(request):
            job = await execute(
                plan,
                batch,
                render,
                size.nbytes,
                context_of(request),
                self.repository.runtime,
                self.settings,
                on_admitted=count_images,
                classes_of=classes_of,
            )
        if self.feedback is not None:
            own = request_id if request_id and len(request_id) <= MAX_ID_CHARS else None
            name, level = own or request.state.request_id, plan.level
            results, rate = context_of(request).results, DEFAULT_ALPHA if alpha is None else alpha
            self.feedback.remember(client, name, results, rate, level.stats, level.manifest.classes)
        return job


def state_of(request: Request) -> ServiceState:
    """Return the state of the application that a request was sent to."""
    state: ServiceState = request.app.state.service
    return state


def context_of(request: Request) -> RequestContext:
    """Return the context that `ObservabilityMiddleware` opened for a request."""
    context: RequestContext = request.state.context
    return context
