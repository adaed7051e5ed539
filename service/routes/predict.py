"""`POST /predict`: images in, probabilities with their uncertainty out."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import Annotated, Any

import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect

from service.account import account_of
from service.admission import Admission
from service.answer import Answer, Prediction, Timing, prediction
from service.artifact import FloatArray
from service.job import Job, Stop
from service.payload import FIELD, read_pictures
from service.picture import MEDIA_TYPES, decode
from service.plan import Parameters, Plan, plan, quantile
from service.problem import describe
from service.routes.models import CatalogOf
from service.scheduler import Scheduler

router = APIRouter(tags=["predict"])


IMAGE: dict[str, Any] = {"type": "string", "format": "binary"}
BODY: dict[str, Any] = {
    "required": True,
    "description": "One or many pictures, in one of three forms.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "array", "items": IMAGE, "minItems": 1}},
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {
                    FIELD: {"type": "array", "minItems": 1, "items": {"type": "string", "contentEncoding": "base64"}}
                },
            },
            "example": {
                FIELD: [
                    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQAAAADsdIMmAAAAEElEQVR4nGNgYGD4//8/AwAG/gL+bQbbhwAAAABJRU5ErkJggg=="
                ]
            },
        },
        **{media_type: {"schema": IMAGE} for media_type in MEDIA_TYPES},
    },
}
EXAMPLE: dict[str, Any] = {
    "request_id": "5f0c6f1c2b0e4a06b8d0a3b1f6d1f9aa",
    "model": "digits",
    "version": "20261123-075100-3f9ca1",
    "level": "p80",
    "predictions": [
        {
            "label": "4",
            "probability": 0.71,
            "probabilities": [
                {"label": "4", "probability": 0.71, "std": 0.06, "low": 0.60, "high": 0.81},
                {"label": "9", "probability": 0.29, "std": 0.06, "low": 0.19, "high": 0.40},
            ],
            "uncertainty": {"total": 0.60, "aleatoric": 0.59, "epistemic": 0.01},
            "prediction_set": ["4", "9"],
            "decision": "abstain",
            "reason": "uncertain",
            "monte_carlo": {"draws": 16, "standard_error": 0.011, "stop": "settled"},
        }
    ],
    "timing_ms": {"decode": 0.2, "queue": 0.0, "inference": 3.1},
}


@router.post(
    "/predict",
    summary="Classify images and say how sure it is",
    response_model=Answer,
    responses={
        200: {"content": {"application/json": {"example": EXAMPLE}}},
        **describe(400, 404, 413, 415, 422, 503, 504),
    },
    openapi_extra={"requestBody": BODY},
)
async def predict(request: Request, catalog: CatalogOf, parameters: Annotated[Parameters, Query()]) -> Response:
    """Post pictures as multipart/form-data (field `images`), as one raw image, or as JSON with base64."""
    admission: Admission = request.app.state.admission
    account = account_of(request)
    planned = plan(catalog, parameters, admission.step())
    account.planned(planned)
    level_quantile = quantile(parameters.alpha, planned.served.level)
    deadline = None if parameters.deadline_ms is None else parameters.deadline_ms / 1000
    # Who is refused anyway costs no reading.
    admission.check(1, planned.seconds(1), deadline)
    with account.stage("read"):
        pictures = await read_pictures(request, catalog.settings)
    account.images = len(pictures)
    work = math.ceil(len(pictures) * planned.expected_draws)
    with admission.admit(work, planned.seconds(len(pictures)), deadline):
        latest = None if deadline is None else time.monotonic() + deadline

        def prepare() -> Job:
            engine = planned.served.engine(planned.samples)
            shape, most = planned.served.manifest.input, catalog.settings.max_pixels
            with account.stage("decode"):
                images = np.stack([decode(data, shape, most, number) for number, data in enumerate(pictures)])
            conclude = partial(_conclude, planned, level_quantile, parameters.top_k)
            return Job(engine, images, planned.samples, conclude, planned.settlement, latest)

        # As many at once as there are cores: more would only wait for each other, with their pictures in memory.
        job = await anyio.to_thread.run_sync(prepare, limiter=request.app.state.computing)
        predictions = await _computed(catalog.scheduler, job, request)
    account.answered(job, predictions)
    planned.served.latency.record(job.inference)
    answer = Answer(
        request_id=request.state.request_id,
        model=planned.served.manifest.model,
        version=planned.served.manifest.version,
        level=planned.served.level.name,
        level_reason=planned.reason,
        degraded=planned.degraded,
        predictions=predictions,
        timing_ms=Timing(decode=account.milliseconds("decode"), queue=job.queue, inference=job.inference),
    )
    return Response(answer.model_dump_json(), media_type="application/json")


def _conclude(planned: Plan, level_quantile: float, top_k: int, logits_SK: FloatArray, stop: Stop) -> Prediction:
    if planned.settlement is not None:
        planned.served.learn(len(logits_SK))
    served = planned.served
    return prediction(
        logits_SK, served.manifest.classes, served.level.calibration, stop, quantile=level_quantile, top_k=top_k
    )


async def _computed(scheduler: Scheduler, job: Job, request: Request) -> list[Prediction]:
    """The job's results; a client who hangs up meanwhile takes the job out of the queue."""
    scheduler.submit(job)

    async def leave_with_client() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        job.future.cancel()

    watch = asyncio.create_task(leave_with_client())
    try:
        return await asyncio.wrap_future(job.future)
    except asyncio.CancelledError:
        job.future.cancel()
        if watch.done():
            raise ClientDisconnect from None
        raise
    finally:
        watch.cancel()
