"""The whole service as one FastAPI application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from fastapi import Depends, FastAPI
from starlette.staticfiles import StaticFiles

from service.api import openapi as document
from service.api.dependencies import require_key, require_metrics_key
from service.api.routes import health, metrics, models, predict, status
from service.api.routes import ui as page
from service.api.v2 import infer, repository
from service.errors import StartupError
from service.http import middleware as guard
from service.http import problems as problem
from service.http.api_keys import Keyring
from service.http.fast_path import FastPathMiddleware
from service.http.middleware import CloseOnDrainMiddleware, RequestIdMiddleware
from service.http.rate_limit import RateLimiter
from service.observability.middleware import ObservabilityMiddleware
from service.observability.prometheus import ServiceCollector
from service.observability.request_stats import RequestStats
from service.repository.repository import ModelRepository
from service.scheduling.admission import Admission
from service.settings import Rate, Settings

if TYPE_CHECKING:
    from service.observability.tracing import Tracing

log = logging.getLogger("slimbayes.service")
DESCRIPTION = "Classifies images with pruned Bayesian networks, and says of every prediction how sure it is."
DOCS = Path(__file__).parent / "api" / "static" / "docs"


def create_app(settings: Settings, tracing: Tracing | None = None) -> FastAPI:
    """The application for these settings; raise StartError where it could not serve anything.

    `tracing` takes the traces instead of what the settings name.
    """
    tracing = tracing or _tracing(settings)
    keyring = Keyring(settings.keys_file) if settings.keys_file else None
    catalog = ModelRepository(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def follow_the_store() -> None:
            app.state.ready = await anyio.to_thread.run_sync(catalog.warm)
            while settings.reload_seconds > 0:
                await anyio.sleep(settings.reload_seconds)
                try:
                    app.state.ready = await anyio.to_thread.run_sync(catalog.refresh)
                except Exception:  # whatever it is, what is served goes on
                    log.exception("the store was not read")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow_the_store)
            yield
            tasks.cancel_scope.cancel()
        app.state.ready = False
        catalog.close()
        if tracing is not None:
            await anyio.to_thread.run_sync(tracing.close)

    app = FastAPI(
        title="Slimbayes",
        summary=DESCRIPTION,
        version=version("slimbayes"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Its own would say everything twice: see service/observation.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.settings, app.state.catalog, app.state.keyring = settings, catalog, keyring
    app.state.rate_limiter = RateLimiter(Rate.parse(settings.rate_limit) if settings.rate_limit else None)
    app.state.admission = Admission(
        settings.max_queue, settings.max_wait_ms / 1000, degrade=settings.overload == "degrade"
    )
    app.state.ready = app.state.draining = False
    app.state.computing = anyio.CapacityLimiter(catalog.num_workers)
    app.state.traffic = RequestStats()
    app.state.metrics = ServiceCollector(catalog, app.state.admission, app.state.traffic, lambda: app.state.ready)
    app.add_middleware(FastPathMiddleware, (predict.router, predict.directly), (infer.router, infer.directly))
    guard.install(app, settings)
    app.add_middleware(RequestIdMiddleware)
    problem.install(app)
    document.install(app)
    app.add_middleware(guard.SecurityHeadersMiddleware)
    app.add_middleware(CloseOnDrainMiddleware)
    # The last that is added stands outside of all others.
    app.add_middleware(ObservabilityMiddleware, app.state.traffic, tracing)
    for routes in (predict, models, status):
        app.include_router(routes.router, dependencies=[Depends(require_key)], responses=problem.describe(401))
    for routes in (infer, repository):
        app.include_router(routes.router, dependencies=[Depends(require_key)], responses=problem.describe_refusals(401))
    app.include_router(repository.health)
    app.include_router(metrics.router, dependencies=[Depends(require_metrics_key)], responses=problem.describe(401))
    for routes in (health, page):
        app.include_router(routes.router)
    app.mount("/docs", StaticFiles(directory=DOCS, html=True))
    return app


def _tracing(settings: Settings) -> Tracing | None:
    """Where traces go, imported only where they are asked for; raise StartError where the extra is missing."""
    if settings.traces is None:
        return None
    try:
        from service.observability.tracing import Tracing
    except ModuleNotFoundError as error:
        raise StartupError("setting traces needs the tracing extra: pip install 'slimbayes[tracing]'") from error
    return Tracing.to(settings.traces)
