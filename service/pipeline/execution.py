"""The passage of one request, whatever its protocol: admitted, made ready, computed, given up if its client leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from fastapi import Request
from starlette.requests import ClientDisconnect

from service.concurrency import run_in_worker
from service.http.rate_limit import RateLimiter, client_of
from service.inference.engine import Engine
from service.pipeline.context import context_of
from service.pipeline.planning import Plan
from service.scheduling.admission import Admission
from service.scheduling.job import Conclude, Job
from service.scheduling.scheduler import Scheduler

# Seconds after which it is worth to look whether the client is still there.
PATIENCE = 0.05


@dataclass(frozen=True)
class EncodedBatch:
    """The images of a request: how many, and what makes uint8 [N, H, W, C] of them.

    That is done off the event loop, but where it is so `quick` that asking another thread would take longer.
    """

    count: int
    decode: Callable[[], npt.NDArray[np.uint8]]
    quick: bool = False


async def execute(
    request: Request, planned: Plan, images: EncodedBatch, deadline: float | None, conclude: Conclude
) -> Job:
    """The job of a request when every image is concluded, each with a verdict; its deadline is in seconds from now.

    Raises RequestError, and ClientDisconnect where the client hangs up.
    """
    admission: Admission = request.app.state.admission
    account = context_of(request)
    account.images = images.count
    limiter: RateLimiter = request.app.state.rate_limiter
    with planned.served.held(), admission.admit(*planned.cost(images.count), deadline) as admitted:
        limiter.spend(client_of(request), images.count)
        latest = None if deadline is None else time.monotonic() + deadline

        def prepare(engine: Engine | None) -> Job:
            engine = engine or planned.served.engine(planned.samples, images.count, latest)
            with account.stage("decode"):
                images_NHWC = images.decode()
            settlement, seconds = planned.settlement, admitted.seconds
            return Job(engine, images_NHWC, planned.samples, conclude, settlement, latest, seconds)

        engine = planned.served.engine_at_once(planned.samples) if images.quick else None
        if engine is None:
            await planned.served.fetched(deadline)
        job = await run_in_worker(partial(prepare, engine), request.app.state.computing, inline=engine is not None)
        admitted.done = lambda: job.had
        await _computed(request.app.state.catalog.scheduler, job, request)
        admitted.whole = not job.cut
    account.answered(job, [each.verdict for each in job.future.result()])
    if planned.settlement is not None and planned.degraded is None:
        for each in account.verdicts:
            planned.served.learn(each.draws)
    planned.served.latency.record(job.inference)
    return job


async def _computed(scheduler: Scheduler, job: Job, request: Request) -> None:
    """Return when the job is done; a client who hangs up meanwhile takes it out of the queue."""
    scheduler.submit(job)
    loop = asyncio.get_running_loop()
    watch: asyncio.Task[None] | None = None

    async def leave_with_client() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        job.future.cancel()

    def begin() -> None:
        nonlocal watch
        watch = loop.create_task(leave_with_client())

    later = loop.call_later(PATIENCE, begin)
    try:
        await asyncio.wrap_future(job.future)
    except asyncio.CancelledError:
        job.future.cancel()
        if watch is not None and watch.done():
            raise ClientDisconnect from None
        raise
    finally:
        later.cancel()
        if watch is not None:
            watch.cancel()
