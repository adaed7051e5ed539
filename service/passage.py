"""The passage of one request, whatever its protocol: admitted, made ready, computed, given up if its client leaves."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio.to_thread
import numpy as np
import numpy.typing as npt
from fastapi import Request
from starlette.requests import ClientDisconnect

from service.account import account_of
from service.admission import Admission
from service.artifact import FloatArray
from service.engine import Engine
from service.job import Conclude, Job, Stop
from service.plan import Plan
from service.rate import RateLimiter, client_of
from service.scheduler import Scheduler


@dataclass(frozen=True)
class Undecoded:
    """The images of a request: how many, and what makes uint8 [N, H, W, C] of them.

    That is done off the event loop, but where it is so `quick` that asking another thread would take longer.
    """

    count: int
    decode: Callable[[], npt.NDArray[np.uint8]]
    quick: bool = False


async def passage(
    request: Request, planned: Plan, images: Undecoded, deadline: float | None, conclude: Conclude
) -> Job:
    """The job of a request when every image is concluded, each with a verdict; its deadline is in seconds from now.

    Raises RequestError, and ClientDisconnect where the client hangs up.
    """
    admission: Admission = request.app.state.admission
    account = account_of(request)
    account.images = images.count
    work, seconds = math.ceil(images.count * planned.expected_draws), planned.seconds(images.count)
    limiter: RateLimiter = request.app.state.rate_limiter
    with admission.admit(work, seconds, deadline):
        limiter.spend(client_of(request), images.count)
        latest = None if deadline is None else time.monotonic() + deadline

        def prepare(engine: Engine | None) -> Job:
            engine = engine or planned.served.engine(planned.samples)
            with account.stage("decode"):
                images_NHWC = images.decode()
            return Job(engine, images_NHWC, planned.samples, concluded, planned.settlement, latest)

        def concluded(logits_SK: FloatArray, stop: Stop) -> object:
            if planned.settlement is not None:
                planned.served.learn(len(logits_SK))
            return conclude(logits_SK, stop)

        engine = planned.served.engine_at_once(planned.samples) if images.quick else None
        if engine is not None:
            job = prepare(engine)
        else:
            # As many at once as there are cores: more would only wait for each other, with their pictures in memory.
            job = await anyio.to_thread.run_sync(prepare, None, limiter=request.app.state.computing)
        await _computed(request.app.state.catalog.scheduler, job, request)
    account.answered(job, [each.verdict for each in job.future.result()])
    planned.served.latency.record(job.inference)
    return job


async def _computed(scheduler: Scheduler, job: Job, request: Request) -> None:
    """Return when the job is done; a client who hangs up meanwhile takes it out of the queue."""
    scheduler.submit(job)

    async def leave_with_client() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        job.future.cancel()

    watch = asyncio.create_task(leave_with_client())
    try:
        await asyncio.wrap_future(job.future)
    except asyncio.CancelledError:
        job.future.cancel()
        if watch.done():
            raise ClientDisconnect from None
        raise
    finally:
        watch.cancel()
