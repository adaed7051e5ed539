"""Serve `POST /v2/models/…/infer`: tensors in, tensors out, by the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from model_store.manifest import InputShape
from service.api.dependencies import ModelPath, VersionPath
from service.api.query import refuse_parameters
from service.api.responses import PiecesResponse
from service.api.routes.predict import PICTURE
from service.api.schemas import Degraded
from service.api.state import context_of, state_of
from service.api.v2.input_tensors import read_images
from service.api.v2.output_tensors import render, requested_outputs, write_response
from service.api.v2.schemas import HEADER, InferenceRequest, InferenceResponse, ResponseParameters, read_request
from service.concurrency import BYTES_PER_S
from service.errors import ParameterError
from service.http.content.body import accepted_encoding, compress
from service.http.problems import PROTOCOL, describe_refusals
from service.inference.decision import ImageResult
from service.pipeline.answer_size import AnswerSize
from service.pipeline.parameters import PredictQuery
from service.pipeline.planning import Plan, degrade_to_fit, make_plan
from service.pipeline.preprocessing import EncodedBatch
from service.settings import Settings

router = APIRouter(prefix=PROTOCOL, tags=["open inference protocol"])

# Memory of one pixel value while a list of them is read: five arrays of pointers or numbers.
VALUE_BYTES = 40
BINARY: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
BODY: dict[str, Any] = {
    "required": True,
    "description": f"A document, followed by the bytes of its tensor if {HEADER} gives the document's length."
    " It may be compressed with gzip or deflate. Its Content-Type does not matter.",
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/InferenceRequest"},
            "example": {"inputs": [{"name": "images", "shape": [1], "datatype": "BYTES", "data": [PICTURE]}]},
        },
        **BINARY,
    },
}
LENGTH: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "description": "Bytes of the document, where the tensor follows it.",
    "schema": {"type": "integer", "minimum": 0},
}
DOCUMENTED: dict[str, Any] = {
    "response_model": InferenceResponse,
    "responses": {200: {"content": BINARY}, **describe_refusals(400, 404, 408, 413, 415, 422, 429, 500, 503, 504)},
    "openapi_extra": {"requestBody": BODY, "parameters": [LENGTH]},
}


@router.post("/models/{model}/infer", summary="Classify tensors", **DOCUMENTED)
async def infer(request: Request, model: ModelPath) -> Response:
    """Answer by the default version: probabilities, standard deviations, and the parts of the uncertainty."""
    return await respond(request, model, None)


@router.post("/models/{model}/versions/{version}/infer", summary="Classify tensors by one version", **DOCUMENTED)
async def version_infer(request: Request, model: ModelPath, version: VersionPath) -> Response:
    """Answer by one version: probabilities, standard deviations, and the parts of the uncertainty."""
    return await respond(request, model, version)


async def fast_path(request: Request) -> Response:
    """Answer a request that bypasses the framework."""
    return await respond(request, request.path_params["model"], request.path_params.get("version"))


async def respond(request: Request, model: str, version: str | None) -> Response:
    """Answer a request for a model, and a version of it by name or alias; raise RequestError."""
    refuse_parameters(request.scope["query_string"])
    state, context = state_of(request), context_of(request)
    repository = state.repository
    found = repository.model(model).version(version)
    assert found.manifest is not None
    named = {"model": model, "version": found.name}
    state.precheck(request, make_plan(repository, PredictQuery(**named)))
    document, batch = await _read(request, found.manifest.input)
    outputs = requested_outputs(document)
    query = PredictQuery(**named, **document.options.model_dump(exclude={"binary_data_output"}))
    plan = degrade_to_fit(make_plan(repository, query), batch.count, repository.runtime.admission)
    context.set_plan(plan)
    if "draws" in outputs and (plan.early_stopping is not None or plan.deadline_s is not None):
        raise ParameterError("output 'draws' needs as many of each image: give samples a number, and no deadline_ms")
    figures = len(outputs.keys() - {"draws"})
    size = AnswerSize(batch.count, len(found.manifest.classes), plan.samples if "draws" in outputs else 0, figures)
    await state.execute(request, plan, batch, partial(render, outputs), size, request_id=document.id)
    write = partial(_write, request, document, plan, outputs)
    if size.inline:
        return write()
    return await repository.runtime.workers.run(lambda _: write(), size.nbytes / BYTES_PER_S)


async def _read(request: Request, shape: InputShape) -> tuple[InferenceRequest, EncodedBatch]:
    state = state_of(request)
    with context_of(request).stage("read"):
        body = await state.read_body(request)
        header = request.headers.get(HEADER, "")
        length = int(header) if header.isdecimal() and len(header) <= 12 else len(body)
        parse = partial(_parse, body, request.headers.get(HEADER), shape, state.settings)
        return await state.parse(request, parse, parsing_bytes(length, max_values(shape, state.settings)))


def _parse(
    body: bytes, header: str | None, shape: InputShape, settings: Settings
) -> tuple[InferenceRequest, EncodedBatch]:
    document, rest = read_request(body, header, max_values(shape, settings))
    batch = read_images(document.inputs[0], rest, shape, settings)
    document.inputs[0].data = None  # nothing needs them any more
    return document, batch


def max_values(shape: InputShape, settings: Settings) -> int:
    """Return the most pixel values of a request."""
    return settings.max_images * shape.height * shape.width * shape.channels


def parsing_bytes(length: int, values: int) -> int:
    """Return the most memory that parsing a document of this length takes: its text, its files, its values."""
    return 2 * length + VALUE_BYTES * min(length // 2, values)


def _write(request: Request, document: InferenceRequest, plan: Plan, outputs: Mapping[str, bool]) -> Response:
    """Build the response: compressed if the client accepts it, in binary if the request asks for it."""
    results = context_of(request).results
    pieces, length = write_response(_response(document, plan, results), results, outputs)
    headers = {"Vary": "Accept-Encoding"} | ({} if length is None else {HEADER: str(length)})
    encoding = accepted_encoding(request.headers.get("accept-encoding", ""), sum(map(len, pieces)))
    kind = "application/json" if length is None else "application/octet-stream"
    if encoding is None:
        return PiecesResponse(pieces, kind, headers)
    return PiecesResponse(compress(pieces, encoding), kind, headers | {"Content-Encoding": encoding})


def _response(document: InferenceRequest, plan: Plan, results: Sequence[ImageResult]) -> InferenceResponse:
    manifest = plan.level.manifest
    return InferenceResponse(
        model_name=manifest.model,
        model_version=manifest.version,
        id=document.id,
        parameters=ResponseParameters(
            version=manifest.version,
            level=plan.level.level.name,
            level_reason=plan.reason,
            degraded=plan.degradation and Degraded(**asdict(plan.degradation)),
            draws=[result.draws for result in results],
            stops=[result.stop for result in results],
            decisions=[result.decision for result in results],
            reasons=[result.reason for result in results],
            ood=[result.ood_score for result in results if result.ood_score is not None] or None,
        ),
        outputs=[],
    )
