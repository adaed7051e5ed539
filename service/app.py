"""The whole service as one FastAPI application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
import anyio.to_thread
from fastapi import FastAPI

from service import problem
from service.admission import Admission
from service.catalog import Catalog
from service.draining import LastAnswers
from service.routes import health, models, predict
from service.settings import Settings

log = logging.getLogger("slimbayes.service")
DESCRIPTION = "Classifies images with pruned Bayesian networks, and says of every prediction how sure it is."


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings; raise StartError where it could not serve anything."""
    catalog = Catalog(settings)

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

    app = FastAPI(
        title="Slimbayes", summary=DESCRIPTION, version=version("slimbayes"), lifespan=lifespan, redoc_url=None
    )
    app.state.settings, app.state.catalog = settings, catalog
    app.state.admission = Admission(
        settings.max_queue, settings.max_wait_ms / 1000, degrade=settings.overload == "degrade"
    )
    app.state.ready = app.state.draining = False
    app.state.computing = anyio.CapacityLimiter(catalog.num_workers)
    problem.install(app)
    app.add_middleware(LastAnswers)
    for routes in (predict, models, health):
        app.include_router(routes.router)
    return app
