"""`/v2` without inference: health, and the models as the Open Inference Protocol sees them."""

from __future__ import annotations

import logging
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel

from service.api.dependencies import Admin, ModelPath, RepositoryDep, VersionPath
from service.api.v2.metadata import (
    IndexEntry,
    ModelMetadata,
    ServerMetadata,
    describe_model,
    describe_server,
    index,
    read_index_request,
)
from service.errors import NotReadyError
from service.http.body import read_body
from service.http.problems import PROTOCOL, describe_refusals
from service.repository.repository import ModelRepository

log = logging.getLogger("slimbayes.service")
router = APIRouter(prefix=PROTOCOL, tags=["open inference protocol"])
# Asked by machines that have no key.
health = APIRouter(prefix=PROTOCOL, tags=["open inference protocol"])
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


@router.get("", operation_id="server_v2_get", summary="The server and its extensions")
async def server() -> ServerMetadata:
    """What answers here, and what it offers beyond the protocol."""
    return describe_server()


@health.get("/health/live", operation_id="server_live_v2_health_live_get", summary="Whether the process is alive")
async def server_live(request: Request) -> ServerHealth:
    """Always 200 while the process can answer at all."""
    return ServerHealth(live=True, ready=_ready_now(request))


@health.get(
    "/health/ready",
    operation_id="server_ready_v2_health_ready_get",
    summary="Whether the service can answer",
    responses=describe_refusals(503),
)
async def server_ready(request: Request) -> ServerHealth:
    """200 when `/readyz` is, else 503."""
    _check_ready(request)
    return ServerHealth(live=True, ready=True)


@router.get(
    "/models/{model}",
    operation_id="model_metadata_v2_models__model__get",
    summary="One model's tensors",
    responses=describe_refusals(404, 422),
)
async def model_metadata(model: ModelPath, catalog: RepositoryDep) -> ModelMetadata:
    """Inputs and outputs of the version that answers by default."""
    return _metadata(catalog, model, None)


@router.get(
    "/models/{model}/versions/{version}",
    operation_id="version_metadata_v2_models__model__versions__version__get",
    summary="One version's tensors",
    responses=describe_refusals(404, 422),
)
async def version_metadata(model: ModelPath, version: VersionPath, catalog: RepositoryDep) -> ModelMetadata:
    """Inputs and outputs of one version."""
    return _metadata(catalog, model, version)


@router.get(
    "/models/{model}/ready",
    operation_id="model_ready_v2_models__model__ready_get",
    summary="Whether a model can answer",
    responses=describe_refusals(404, 422, 503),
)
async def model_ready(request: Request, model: ModelPath, catalog: RepositoryDep) -> ModelHealth:
    """200 when the service is ready and the version that answers by default passed verification."""
    return _ready(request, catalog, model, None)


@router.get(
    "/models/{model}/versions/{version}/ready",
    operation_id="version_ready_v2_models__model__versions__version__ready_get",
    summary="Whether a version can answer",
    responses=describe_refusals(404, 422, 503),
)
async def version_ready(
    request: Request, model: ModelPath, version: VersionPath, catalog: RepositoryDep
) -> ModelHealth:
    """200 when the service is ready and the version passed verification; its first request may take longer."""
    return _ready(request, catalog, model, version)


@router.post(
    "/repository/index",
    operation_id="repository_index_v2_repository_index_post",
    summary="All versions of all models",
    responses=describe_refusals(400, 408, 413, 415),
    openapi_extra={"requestBody": INDEX_BODY},
)
async def repository_index(request: Request, catalog: RepositoryDep) -> list[IndexEntry]:
    """Every version with its state, and why it is refused; an empty body lists all."""
    wanted = read_index_request(await read_body(request, catalog.settings.max_body_bytes))
    return index(catalog, wanted.ready)


@router.post(
    "/repository/models/{model}/load",
    operation_id="load_v2_repository_models__model__load_post",
    summary="Have a model answer (role admin)",
    responses=describe_refusals(403, 404, 422),
)
async def load(model: ModelPath, catalog: RepositoryDep, who: Admin) -> dict[str, str]:
    """Follow the store at once, and have the model answer; returns when its networks are built."""
    await anyio.to_thread.run_sync(catalog.refresh)
    await anyio.to_thread.run_sync(catalog.load, model, True)
    log.info("%s loaded model %s", who.name, model)
    return {}


@router.post(
    "/repository/models/{model}/unload",
    operation_id="unload_v2_repository_models__model__unload_post",
    summary="Have a model answer no more (role admin)",
    responses=describe_refusals(403, 404, 422),
)
async def unload(model: ModelPath, catalog: RepositoryDep, who: Admin) -> dict[str, str]:
    """Let go of its networks: what is being computed is answered, later requests are refused until it is loaded."""
    await anyio.to_thread.run_sync(catalog.load, model, False)
    log.info("%s unloaded model %s", who.name, model)
    return {}


def _metadata(catalog: ModelRepository, model: str, version: str | None) -> ModelMetadata:
    found = catalog.model(model)
    return describe_model(found.version(version), found.versions)


def _ready(request: Request, catalog: ModelRepository, model: str, version: str | None) -> ModelHealth:
    served = catalog.model(model).version(version)
    _check_ready(request)
    return ModelHealth(name=model, version=served.name)


def _check_ready(request: Request) -> None:
    if not _ready_now(request):
        raise NotReadyError("the service is not ready to answer: it is starting, or ending")


def _ready_now(request: Request) -> bool:
    state = request.app.state
    return bool(state.ready and not state.draining)
