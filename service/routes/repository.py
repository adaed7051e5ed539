"""`/v2` without inference: health, and the models as the Open Inference Protocol sees them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from service.body import read_body
from service.catalog import Catalog
from service.errors import NotReadyError
from service.problem import PROTOCOL, describe_refusals
from service.repository import (
    IndexEntry,
    ModelMetadata,
    ServerMetadata,
    describe_model,
    describe_server,
    index,
    read_index_request,
)
from service.routes.models import CatalogOf, ModelPath

router = APIRouter(prefix=PROTOCOL, tags=["open inference protocol"])
VersionPath = Annotated[str, Path(description="A version or an alias.", examples=["production"])]
INDEX_BODY: dict[str, Any] = {
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/IndexRequest"}}}
}


class ServerHealth(BaseModel):
    """How the service is, in the words that each client looks for."""

    live: bool
    ready: bool


class ModelHealth(BaseModel):
    """A model that can answer, and the version that was asked about or that answers by default."""

    name: str
    version: str
    ready: bool = True


@router.get("", summary="The server and its extensions")
async def server() -> ServerMetadata:
    """What answers here, and what it offers beyond the protocol."""
    return describe_server()


@router.get("/health/live", summary="Whether the process is alive")
async def server_live(request: Request) -> ServerHealth:
    """Always 200 while the process can answer at all."""
    return ServerHealth(live=True, ready=request.app.state.ready)


@router.get("/health/ready", summary="Whether the service can answer", responses=describe_refusals(503))
async def server_ready(request: Request) -> ServerHealth:
    """200 when `/readyz` is, else 503."""
    _check_ready(request)
    return ServerHealth(live=True, ready=True)


@router.get("/models/{model}", summary="One model's tensors", responses=describe_refusals(404, 422))
async def model_metadata(model: ModelPath, catalog: CatalogOf) -> ModelMetadata:
    """Inputs and outputs of the version that answers by default."""
    return _metadata(catalog, model, None)


@router.get(
    "/models/{model}/versions/{version}", summary="One version's tensors", responses=describe_refusals(404, 422)
)
async def version_metadata(model: ModelPath, version: VersionPath, catalog: CatalogOf) -> ModelMetadata:
    """Inputs and outputs of one version."""
    return _metadata(catalog, model, version)


@router.get("/models/{model}/ready", summary="Whether a model can answer", responses=describe_refusals(404, 422, 503))
async def model_ready(request: Request, model: ModelPath, catalog: CatalogOf) -> ModelHealth:
    """200 when the service is ready and the version that answers by default passed verification."""
    return _ready(request, catalog, model, None)


@router.get(
    "/models/{model}/versions/{version}/ready",
    summary="Whether a version can answer",
    responses=describe_refusals(404, 422, 503),
)
async def version_ready(request: Request, model: ModelPath, version: VersionPath, catalog: CatalogOf) -> ModelHealth:
    """200 when the service is ready and the version passed verification; its first request may take longer."""
    return _ready(request, catalog, model, version)


@router.post(
    "/repository/index",
    summary="All versions of all models",
    responses=describe_refusals(400, 413, 415),
    openapi_extra={"requestBody": INDEX_BODY},
)
async def repository_index(request: Request, catalog: CatalogOf) -> list[IndexEntry]:
    """Every version with its state, and why it is refused; an empty body lists all."""
    wanted = read_index_request(await read_body(request, catalog.settings.max_body_bytes))
    return index(catalog, wanted.ready)


def _metadata(catalog: Catalog, model: str, version: str | None) -> ModelMetadata:
    found = catalog.model(model)
    return describe_model(found.version(version), found.versions)


def _ready(request: Request, catalog: Catalog, model: str, version: str | None) -> ModelHealth:
    served = catalog.model(model).version(version)
    _check_ready(request)
    return ModelHealth(name=model, version=served.name)


def _check_ready(request: Request) -> None:
    state = request.app.state
    if state.draining or not state.ready:
        raise NotReadyError("the service is not ready to answer: it is starting, or ending")
