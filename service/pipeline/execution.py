"""Execute one prediction request: admit, decode, schedule, await. Cancelling it stops its work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import anyio
import anyio.to_thread

from service.errors import DeadlineError
from service.inference.decision import ClassesOf, Postprocessor, Render
from service.inference.engine import Engine
from service.pipeline.context import RequestContext
from service.pipeline.planning import Plan, degrade_to_fit
from service.pipeline.preprocessing import EncodedBatch, open_batch
from service.repository.runtime import Runtime
from service.scheduling.admission import Admission
from service.scheduling.job import Job
from service.settings import Settings

# Memory of one logit of one draw while it is summarised: itself, its probability, and their intermediate results.
LOGIT_BYTES = 32
ANSWER = "the answer"
FOREVER = nullcontext()


def precheck(plan: Plan, admission: Admission, check_rate: Callable[[], object]) -> None:
    """Refuse a request before its body is read, as one image of it would be; raise RequestError."""
    check_rate()
    admission.check(*degrade_to_fit(plan, 1, admission).cost(1), plan.deadline_s)


async def execute(
    plan: Plan,
    batch: EncodedBatch,
    render: Render,
    answer_bytes: int,
    context: RequestContext,
    runtime: Runtime,
    settings: Settings,
    *,
    on_admitted: Callable[[], object],
    classes_of: ClassesOf | None = None,
) -> Job:
    """Compute the images of a request; the finished job holds an `ImageResult` for each.

    `render` makes the content of each result; `answer_bytes` bounds what is written of them. `on_admitted` is called
    once the request is admitted, and may refuse it. `classes_of` gives the classes to remember of each image.

    Raises RequestError.
    """
    context.images, latest, manifest = batch.count, context.latest(plan.deadline_s), plan.level.manifest
    answer_bytes += batch.count * plan.samples * len(manifest.classes) * LOGIT_BYTES
    answer = context.reserve(runtime.request_memory, "answers")
    answer.check(answer_bytes, ANSWER)
    with plan.level.in_use(plan.samples):
        with until(latest), context.stage("decode"):
            opened = await open_batch(batch, manifest.input, settings, runtime)
        draws, seconds = plan.cost(batch.count)
        seconds += opened.expected_s / runtime.num_workers if seconds else 0.0
        with runtime.admission.admit(draws, seconds, plan.deadline_s) as work:
            on_admitted()
            with until(latest):
                with context.stage("decode"):
                    images_NHWC = await opened.decode(work, context.body)
                engine = plan.level.prepared_engine(plan.samples) or await _prepared(plan, batch.count, latest, runtime)
                await answer.grow(answer_bytes, ANSWER)
            level = plan.level.level
            postprocess = Postprocessor(level.calibration, render, plan.early_stopping, level.members, classes_of)
            job = Job(engine, images_NHWC, plan.samples, postprocess, plan.early_stopping, latest, work)
            runtime.scheduler.submit(job)
            results = await asyncio.wrap_future(job.future)
    context.set_results(job, results)
    if plan.early_stopping is not None and plan.degradation is None:
        for each in results:
            plan.level.record_draws(each.draws)
    plan.level.latency.record(job.inference_ms)
    return job


async def _prepared(plan: Plan, images: int, latest: float | None, runtime: Runtime) -> Engine:
    """Fetch the level's file and build missing networks; others may need them too, so that goes on when this stops."""
    await plan.level.fetch(plan.deadline_s)
    prepare = partial(plan.level.engine, plan.samples, images, latest)
    return await anyio.to_thread.run_sync(prepare, limiter=runtime.preparing, abandon_on_cancel=True)


def until(latest: float | None) -> AbstractContextManager[None]:
    """Cancel the context at a time of `time.monotonic`, None for never; raise DeadlineError then."""
    return FOREVER if latest is None else _until(latest)


@contextmanager
def _until(latest: float) -> Iterator[None]:
    with anyio.move_on_after(latest - time.monotonic()) as scope:
        yield
    if scope.cancelled_caught:
        raise DeadlineError("the deadline passed before there was an answer: allow more time")
