"""Compose the service: one FastAPI application from settings."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends, FastAPI
from starlette.staticfiles import StaticFiles

from service.api.dependencies import require_key, require_metrics_key
from service.api.openapi import install_openapi
from service.api.routes import feedback, health, metrics, models, predict, status, ui
from service.api.state import ServiceState
from service.api.v2 import infer, repository
from service.errors import StartupError
from service.http.api_keys import Keyring
from service.http.draining import DrainingMiddleware
from service.http.fast_path import FastPathMiddleware
from service.http.middleware import (
    MethodsMiddleware,
    RequestIdMiddleware,
    SecurityHeadersMiddleware,
    add_cors_and_hosts,
)
from service.http.problems import add_error_handlers, describe, describe_refusals
from service.http.rate_limit import RateLimiter
from service.observability.feedback import FeedbackMemory
from service.observability.middleware import ObservabilityMiddleware, Tracer
from service.observability.prometheus import ServiceCollector
from service.observability.request_stats import RequestStats
from service.repository.repository import ModelRepository
from service.settings import Rate, Settings

log = logging.getLogger("slimbayes.service")
DESCRIPTION = "Classifies images with pruned Bayesian networks, and says of every prediction how sure it is."
# Longest wait for networks before it is looked at which models answer, and how often where the store is not followed.
POLL_S = 1.0
# Longest wait at the end for threads, and for the collector of traces.
CLOSE_S = 1.0
Result = TypeVar("Result")
DOCS = Path(__file__).parent / "api" / "static" / "docs"


def create_app(settings: Settings, tracer: Tracer | None = None) -> FastAPI:
    """Build the application; raise StartupError if it could serve nothing.

    `tracer` replaces the collector that the settings name. The state is in `app.state.service`.
    """
    tracer = tracer or _tracer(settings)
    state = _state(settings)
    app = FastAPI(
        title="Slimbayes",
        summary=DESCRIPTION,
        version=version("slimbayes"),
        lifespan=asynccontextmanager(lambda _: _lifespan(state, tracer)),
        docs_url=None,
        redoc_url=None,
        # `service.observability` does this once for all routes.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.service = state
    _add_middleware(app, state, tracer)
    add_error_handlers(app)
    install_openapi(app, with_keys=state.keyring is not None)
    _include_routes(app)
    return app


def _state(settings: Settings) -> ServiceState:
    keyring = Keyring(settings.keys_file) if settings.keys_file else None
    models, stats = ModelRepository(settings), RequestStats()
    collector = ServiceCollector(models, stats, lambda: state.ready, lambda: state.process_bytes)
    limiter = RateLimiter(Rate.parse(settings.rate_limit) if settings.rate_limit else None)
    memory = FeedbackMemory(settings.feedback) if settings.feedback else None
    state = ServiceState(settings, models, keyring, limiter, stats, collector.registry, memory)
    return state


async def _lifespan(state: ServiceState, tracer: Tracer | None) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_follow_store, state)
        yield
        state.repository.stop_following()
        tasks.cancel_scope.cancel()
    state.ready = False
    with anyio.move_on_after(CLOSE_S):
        async with anyio.create_task_group() as closing:
            closing.start_soon(_in_thread, state.repository.close)
            if tracer is not None:
                closing.start_soon(_in_thread, tracer.close)


async def _in_thread(work: Callable[[], Result]) -> Result:
    """Run what may block in a thread, which the end of the service does not wait for."""
    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)


async def _follow_store(state: ServiceState) -> None:
    """Build the default networks, then refresh the models until the service ends."""
    repository, interval_s = state.repository, state.settings.reload_seconds
    state.ready = await _in_thread(partial(repository.warm, POLL_S))
    while True:
        state.measure_process()
        # A model that was slow to load answers later, even where the store is not followed.
        await anyio.sleep(interval_s or POLL_S)
        try:
            state.ready = await _in_thread(repository.refresh if interval_s else repository.answering)
            await _in_thread(repository.runtime.memory.release_idle)
        except Exception:  # keep serving what is loaded
            log.exception("the store was not read")


def _add_middleware(app: FastAPI, state: ServiceState, tracer: Tracer | None) -> None:
    """Add middleware from the inside out: what is added last runs first."""
    app.add_middleware(
        FastPathMiddleware,
        state.authenticate,
        state.charge,
        (predict.router, predict.fast_path),
        (infer.router, infer.fast_path),
    )
    app.add_middleware(MethodsMiddleware)
    add_cors_and_hosts(app, state.settings)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(DrainingMiddleware, state.draining.is_set)
    app.add_middleware(ObservabilityMiddleware, state.stats, tracer)


def _include_routes(app: FastAPI) -> None:
    for routes in (predict, feedback, models, status):
        app.include_router(routes.router, dependencies=[Depends(require_key)], responses=describe(401))
    for routes in (infer, repository):
        app.include_router(routes.router, dependencies=[Depends(require_key)], responses=describe_refusals(401))
    app.include_router(repository.health)
    app.include_router(metrics.router, dependencies=[Depends(require_metrics_key)], responses=describe(401))
    for routes in (health, ui):
        app.include_router(routes.router)
    app.mount("/docs", StaticFiles(directory=DOCS, html=True))


def _tracer(settings: Settings) -> Tracer | None:
    """Connect to the configured collector; raise StartupError if the tracing extra is missing."""
    if settings.traces is None:
        return None
    try:
        from service.observability.tracing import Tracing
    except ModuleNotFoundError as error:
        raise StartupError("setting traces needs the tracing extra: pip install 'slimbayes[tracing]'") from error
    return Tracing.to_collector(settings.traces)
