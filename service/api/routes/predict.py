"""Serve `POST /predict`: images in, probabilities with their uncertainty out."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from model_store.images import FORMATS
from service.api.query import parse_query
from service.api.responses import PiecesResponse
from service.api.schemas import Answer
from service.api.state import context_of, state_of
from service.concurrency import BYTES_PER_S
from service.http.content.payload import parse_images, parsing_bytes
from service.http.problems import describe
from service.pipeline.answer_size import AnswerSize
from service.pipeline.parameters import PredictQuery
from service.pipeline.planning import degrade_to_fit, make_plan
from service.pipeline.postprocessing import ResponseBuilder, write_answer
from service.pipeline.preprocessing import EncodedBatch
from service.types import FIELD

router = APIRouter(tags=["predict"])

# Eight times eight pixels as PNG, in base64.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAF0lEQVR42mNgQAL//zMwMDDBeMQw4AAAdjsCCa0quowAAAAASUVORK5CYII="
IMAGE: dict[str, Any] = {"type": "string", "format": "binary"}
BODY: dict[str, Any] = {
    "required": True,
    "description": "One or many images, in one of three forms; in JSON as base64 or as data URLs. Other fields are"
    " refused: parameters belong in the query string.",
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
            "ood": {"score": "energy", "value": -6.1, "threshold": -5.3},
            "monte_carlo": {"draws": 32, "standard_error": 0.011, "stop": "samples"},
        }
    ],
    "timing_ms": {"decode": 0.2, "queue": 0.0, "inference": 3.1},
}


async def _parse_query(request: Request) -> PredictQuery:
    """Parse the query as `fast_path` does, before the framework, which takes the last of a repeated parameter."""
    return parse_query(request.scope["query_string"])


@router.post(
    "/predict",
    dependencies=[Depends(_parse_query)],
    summary="Classify images and say how sure it is",
    response_model=Answer,
    responses={
        200: {"content": {"application/json": {"example": EXAMPLE}}},
        **describe(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
    },
    openapi_extra={"requestBody": BODY},
)
async def predict(request: Request, query: Annotated[PredictQuery, Query()]) -> Response:
    """Post images as multipart/form-data (field `images`), as one raw image, or as JSON with base64."""
    return await respond(request, query)


async def respond(request: Request, query: PredictQuery) -> Response:
    """Answer a request whose query is parsed; raise RequestError."""
    state, context = state_of(request), context_of(request)
    plan = make_plan(state.repository, query)
    context.set_plan(plan)
    builder = ResponseBuilder.for_level(plan.level, query)
    state.precheck(request, plan)
    with context.stage("read"):
        batch = await _read(request, plan.deadline_s)
    plan = degrade_to_fit(plan, batch.count, state.repository.runtime.admission)
    if plan.degradation is not None:
        context.set_plan(plan)
        builder = ResponseBuilder.for_level(plan.level, query)
    manifest, level = plan.level.manifest, plan.level.level
    size = AnswerSize(batch.count, min(query.top_k, len(manifest.classes)), plan.samples if query.draws else 0)
    job = await state.execute(request, plan, batch, builder.render, size, alpha=query.alpha)
    answer = {
        "request_id": request.state.request_id,
        "model": manifest.model,
        "version": manifest.version,
        "level": level.name,
        "level_reason": plan.reason,
        "degraded": plan.degradation and asdict(plan.degradation),
        "timing_ms": {"decode": context.milliseconds("decode"), "queue": job.queue_ms, "inference": job.inference_ms},
    }
    write = partial(write_answer, answer, builder, context.results)
    if size.inline:
        return Response(b"".join(write()), media_type="application/json")
    pieces = await state.repository.runtime.workers.run(lambda _: write(), size.nbytes / BYTES_PER_S)
    return PiecesResponse(pieces, "application/json")


async def _read(request: Request, deadline_s: float | None) -> EncodedBatch:
    state = state_of(request)
    body = await state.read_body(request)
    content_type = request.headers.get("content-type", "")
    parse = partial(parse_images, body, content_type, state.settings)
    files = await state.parse(request, parse, parsing_bytes(body, content_type), deadline_s)
    return EncodedBatch(len(files), files)


async def fast_path(request: Request) -> Response:
    """Answer a request that bypasses the framework."""
    return await respond(request, parse_query(request.scope["query_string"]))
