"""Execute one prediction request: admit, decode, schedule, await; cancel on client disconnect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from service.concurrency import run_in_worker
from service.inference.decision import ImageResult, Postprocessor, Render
from service.inference.engine import Engine
from service.pipeline.context import RequestContext
from service.pipeline.planning import Plan, degrade_to_fit
from service.repository.runtime import Runtime
from service.scheduling.admission import Admission
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler

# Seconds after which a request starts to watch for a disconnect; most are answered before.
WATCH_AFTER_S = 0.05


@dataclass(frozen=True)
class EncodedBatch:
    """The images of a request: how many, and a function that decodes them to uint8 [N, H, W, C].

    Decoding runs off the event loop unless it is `inline`: quicker than asking another thread.
    """

    count: int
    decode: Callable[[], npt.NDArray[np.uint8]]
    inline: bool = False


def precheck(plan: Plan, admission: Admission, check_rate: Callable[[], object]) -> None:
    """Refuse a request before its body is read, as one image of it would be; raise RequestError."""
    check_rate()
    admission.check(*degrade_to_fit(plan, 1, admission).cost(1), plan.deadline_s)


async def execute(
    plan: Plan,
    batch: EncodedBatch,
    render: Render,
    context: RequestContext,
    runtime: Runtime,
    *,
    on_admitted: Callable[[], object],
    disconnected: Callable[[], Awaitable[Exception]],
) -> Job:
    """Compute the images of a request; the finished job holds an `ImageResult` for each.

    `render` makes the content of each result; `on_admitted` is called once the request is admitted, and may refuse it;
    `disconnected` waits until the client hangs up, and returns the error to raise then. Raises RequestError.
    """
    context.images = batch.count
    with plan.level.in_use(plan.samples), runtime.admission.admit(*plan.cost(batch.count), plan.deadline_s) as work:
        on_admitted()
        latest = None if plan.deadline_s is None else time.monotonic() + plan.deadline_s

        def prepare(engine: Engine) -> Job:
            with context.stage("decode"):
                images_NHWC = batch.decode()
            postprocess = Postprocessor(plan.level.level.calibration, render)
            return Job(engine, images_NHWC, plan.samples, postprocess, plan.early_stopping, latest, work)

        engine = plan.level.prepared_engine(plan.samples)
        if engine is None:
            await plan.level.fetch(plan.deadline_s)
            build = partial(plan.level.engine, plan.samples, batch.count, latest)
            engine = await run_in_worker(build, runtime.waiters)
        job = await run_in_worker(partial(prepare, engine), runtime.workers, inline=batch.inline)
        results = await _computed(runtime.scheduler, job, disconnected)
    context.set_results(job, results)
    if plan.early_stopping is not None and plan.degradation is None:
        for each in results:
            plan.level.record_draws(each.draws)
    plan.level.latency.record(job.inference_ms)
    return job


async def _computed(
    scheduler: Scheduler, job: Job, disconnected: Callable[[], Awaitable[Exception]]
) -> list[ImageResult]:
    """Await the results of a job; a client that hangs up takes it out of the queue."""
    scheduler.submit(job)
    loop = asyncio.get_running_loop()
    watch: asyncio.Task[Exception] | None = None

    async def cancel_with_client() -> Exception:
        error = await disconnected()
        job.future.cancel()
        return error

    def begin() -> None:
        nonlocal watch
        watch = loop.create_task(cancel_with_client())

    later = loop.call_later(WATCH_AFTER_S, begin)
    try:
        return await asyncio.wrap_future(job.future)
    except asyncio.CancelledError:
        job.future.cancel()
        if watch is not None and watch.done():
            raise watch.result() from None
        raise
    finally:
        later.cancel()
        if watch is not None:
            watch.cancel()
