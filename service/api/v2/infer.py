"""`POST /v2/models/…/infer`: tensors in, tensors out, by the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from model_store.manifest import InputShape
from service.api.dependencies import ModelPath, RepositoryDep, VersionPath
from service.api.routes.predict import PICTURE
from service.api.v2.input_tensors import read_images
from service.api.v2.output_tensors import Concluded, conclude, requested_outputs, write_response
from service.api.v2.schemas import HEADER, InferenceRequest, InferenceResponse, ResponseParameters, read_request
from service.concurrency import run_in_worker
from service.errors import ParameterError
from service.http.body import COMPRESSORS, accepted_encoding, read_body
from service.http.problems import PROTOCOL, describe_refusals
from service.http.rate_limit import RateLimiter, client_of
from service.pipeline.context import context_of
from service.pipeline.execution import EncodedBatch, execute
from service.pipeline.parameters import PredictQuery
from service.pipeline.planning import Plan, fitted, plan
from service.repository.repository import ModelRepository
from service.scheduling.admission import Admission
from service.settings import Settings

router = APIRouter(prefix=PROTOCOL, tags=["open inference protocol"])

# Documents of so many bytes are read, and of so many values written, in about 0.1 ms.
QUICK_BYTES, QUICK_VALUES = 2048, 1024
BINARY: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
BODY: dict[str, Any] = {
    "required": True,
    "description": f"A document, after which bytes of its tensor may follow, if {HEADER} says how long the document is."
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
    "responses": {200: {"content": BINARY}, **describe_refusals(400, 404, 408, 413, 415, 422, 429, 503, 504)},
    "openapi_extra": {"requestBody": BODY, "parameters": [LENGTH]},
}


@router.post(
    "/models/{model}/infer", operation_id="infer_v2_models__model__infer_post", summary="Classify tensors", **DOCUMENTED
)
async def infer(request: Request, model: ModelPath, catalog: RepositoryDep) -> Response:
    """Answers by the version that answers by default: probabilities, their spread, and the uncertainty in its parts."""
    return await _infer(request, catalog, model, None)


@router.post(
    "/models/{model}/versions/{version}/infer",
    operation_id="version_infer_v2_models__model__versions__version__infer_post",
    summary="Classify tensors by one version",
    **DOCUMENTED,
)
async def version_infer(request: Request, model: ModelPath, version: VersionPath, catalog: RepositoryDep) -> Response:
    """Answers by one version: probabilities, their spread, and the uncertainty in its parts."""
    return await _infer(request, catalog, model, version)


async def directly(request: Request) -> Response:
    """The same as either, with no framework between."""
    named = request.path_params
    return await _infer(request, request.app.state.catalog, named["model"], named.get("version"))


async def _infer(request: Request, catalog: ModelRepository, model: str, version: str | None) -> Response:
    admission: Admission = request.app.state.admission
    account = context_of(request)
    served = catalog.model(model).version(version)
    assert served.manifest is not None
    # Who is refused anyway costs no reading.
    limiter: RateLimiter = request.app.state.rate_limiter
    limiter.check(client_of(request), 1)
    least = PredictQuery(model=model, version=served.name)
    admission.check(*fitted(catalog, plan(catalog, least), 1, least, admission).cost(1))
    document, images = await _read(request, catalog.settings, served.manifest.input)
    outputs = requested_outputs(document)
    wanted = PredictQuery(
        model=model, version=served.name, **document.wanted.model_dump(exclude={"binary_data_output"})
    )
    planned = fitted(catalog, plan(catalog, wanted), images.count, wanted, admission)
    account.planned(planned)
    if "draws" in outputs and (planned.settlement is not None or wanted.deadline is not None):
        raise ParameterError("output 'draws' needs as many of each image: give samples a number, and no deadline_ms")
    concluding = partial(conclude, planned.served.level.calibration, outputs)
    job = await execute(request, planned, images, wanted.deadline, concluding)
    writing = partial(_written, request, document, planned, job.future.result(), outputs)
    values = len(outputs) * images.count * len(served.manifest.classes)
    inline = "draws" not in outputs and values <= QUICK_VALUES
    return await run_in_worker(writing, request.app.state.computing, inline=inline)


async def _read(request: Request, settings: Settings, shape: InputShape) -> tuple[InferenceRequest, EncodedBatch]:
    with context_of(request).stage("read"):
        body = await read_body(request, settings.max_body_bytes)
    most_values = settings.max_images * shape.height * shape.width * shape.channels
    header = request.headers.get(HEADER, "")
    length = int(header) if header.isdecimal() and len(header) <= 12 else len(body)
    parsing = partial(read_request, body, request.headers.get(HEADER), most_values)
    document, rest = await run_in_worker(parsing, request.app.state.computing, inline=length <= QUICK_BYTES)
    return document, read_images(document.inputs[0], rest, shape, settings)


def _written(
    request: Request,
    document: InferenceRequest,
    planned: Plan,
    images: Sequence[Concluded],
    outputs: Mapping[str, bool],
) -> Response:
    """The answer as it is sent: compressed where the client asks for it, in bytes where the request does."""
    body, length = write_response(_response(document, planned, images), images, outputs)
    headers = {"Vary": "Accept-Encoding"} | ({} if length is None else {HEADER: str(length)})
    encoding = accepted_encoding(request.headers.get("accept-encoding", ""), len(body))
    if encoding is not None:
        body = COMPRESSORS[encoding](body)
        headers["Content-Encoding"] = encoding
    kind = "application/json" if length is None else "application/octet-stream"
    return Response(body, media_type=kind, headers=headers)


def _response(document: InferenceRequest, planned: Plan, images: Sequence[Concluded]) -> InferenceResponse:
    """The answer without its outputs."""
    manifest = planned.served.manifest
    return InferenceResponse(
        model_name=manifest.model,
        model_version=manifest.version,
        id=document.id,
        parameters=ResponseParameters(
            version=manifest.version,
            level=planned.served.level.name,
            level_reason=planned.reason,
            degraded=planned.degraded,
            draws=[image.verdict.draws for image in images],
            stops=[image.stop for image in images],
            decisions=[image.verdict.decision for image in images],
            reasons=[image.verdict.reason for image in images],
            strangeness=[image.strangeness for image in images if image.strangeness is not None] or None,
        ),
        outputs=[],
    )
