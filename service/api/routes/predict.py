"""`POST /predict`: images in, probabilities with their uncertainty out."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response

from service.api.dependencies import RepositoryDep
from service.api.query import parameters_of
from service.api.schemas import Answer
from service.http.payload import read_pictures
from service.http.problems import describe
from service.http.rate_limit import RateLimiter, client_of
from service.pipeline.context import context_of
from service.pipeline.execution import EncodedBatch, execute
from service.pipeline.parameters import PredictQuery
from service.pipeline.planning import fitted, plan, quantile
from service.pipeline.postprocessing import ResponseBuilder
from service.pipeline.preprocessing import decode_all, quick
from service.scheduling.admission import Admission
from service.settings import FORMATS
from service.types import FIELD

router = APIRouter(tags=["predict"])

# Eight times eight pixels as PNG, in base64.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAF0lEQVR42mNgQAL//zMwMDDBeMQw4AAAdjsCCa0quowAAAAASUVORK5CYII="
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
            "example": {FIELD: [PICTURE]},
        },
        **{f"image/{name}": {"schema": IMAGE} for name in FORMATS},
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
            "strangeness": {"score": "energy", "value": -6.1, "above": -5.3},
            "monte_carlo": {"draws": 16, "standard_error": 0.011, "stop": "settled"},
        }
    ],
    "timing_ms": {"decode": 0.2, "queue": 0.0, "inference": 3.1},
}


@router.post(
    "/predict",
    operation_id="predict_predict_post",
    summary="Classify images and say how sure it is",
    response_model=Answer,
    responses={
        200: {"content": {"application/json": {"example": EXAMPLE}}},
        **describe(400, 404, 408, 413, 415, 422, 429, 503, 504),
    },
    openapi_extra={"requestBody": BODY},
)
async def predict(request: Request, catalog: RepositoryDep, parameters: Annotated[PredictQuery, Query()]) -> Response:
    """Post pictures as multipart/form-data (field `images`), as one raw image, or as JSON with base64."""
    admission: Admission = request.app.state.admission
    account, client = context_of(request), client_of(request)
    limiter: RateLimiter = request.app.state.rate_limiter
    full = plan(catalog, parameters)
    account.planned(full)
    quantile(parameters.alpha, full.served.level)
    # Who is refused anyway costs no reading.
    limiter.check(client, 1)
    admission.check(*fitted(catalog, full, 1, parameters, admission).cost(1), parameters.deadline)
    with full.served.held():
        with account.stage("read"):
            pictures = await read_pictures(request, catalog.settings)
        planned = fitted(catalog, full, len(pictures), parameters, admission)
        account.planned(planned)
        manifest, level = planned.served.manifest, planned.served.level
        level_quantile = quantile(parameters.alpha, level)
        answering = ResponseBuilder(
            manifest.classes, level.calibration, level_quantile, parameters.top_k, parameters.draws
        )
        decoding = partial(decode_all, pictures, manifest.input, catalog.settings)
        images = EncodedBatch(len(pictures), decoding, quick(pictures))
        job = await execute(request, planned, images, parameters.deadline, answering)
    answer = {
        "request_id": request.state.request_id,
        "model": manifest.model,
        "version": manifest.version,
        "level": level.name,
        "level_reason": planned.reason,
        "degraded": planned.degraded and planned.degraded.model_dump(),
        "predictions": [each.document for each in job.future.result()],
        "timing_ms": {"decode": account.milliseconds("decode"), "queue": job.queue, "inference": job.inference},
    }
    return Response(orjson.dumps(answer), media_type="application/json")


async def directly(request: Request) -> Response:
    """The same, with no framework between."""
    return await predict(request, request.app.state.catalog, parameters_of(request.scope["query_string"]))
