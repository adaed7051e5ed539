"""Serve the rest of `/v2`: health, metadata, and the model repository extension."""

from __future__ import annotations

import logging
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel

from service.api.dependencies import Admin, ModelPath, RepositoryDep, StateDep, VersionPath
from service.api.state import ServiceState
from service.api.v2.metadata import (
    IndexEntry,
    IndexRequest,
    LoadRequest,
    ModelMetadata,
    ServerMetadata,
    describe_model,
    describe_server,
    index,
    validate_document,
)
from service.errors import NotReadyError
from service.http.problems import PROTOCOL, describe_refusals
from service.repository.repository import ModelRepository

log = logging.getLogger("slimbayes.service")
router = APIRouter(prefix=PROTOCOL, tags=["open inference protocol"])
# Orchestrators probe these without a key.
health = APIRouter(prefix=PROTOCOL, tags=["open inference protocol"])


def _body(schema: str) -> dict[str, Any]:
    reference = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"requestBody": {"content": {"application/json": reference}}}


class ServerHealth(BaseModel):
    """State of the service, with the keys that each client looks for."""

    live: bool
    ready: bool


class ModelHealth(BaseModel):
    """A model that can answer, and its requested or default version."""

    name: str
    version: str
    ready: bool = True


@router.get("", summary="The server and its extensions")
async def server() -> ServerMetadata:
    """Return name, version and extensions of the server."""
    return describe_server()


@health.get("/health/live", summary="Whether the process is alive")
async def server_live(state: StateDep) -> ServerHealth:
    """Answer 200 as long as the process can answer at all."""
    return ServerHealth(live=True, ready=state.answering)


@health.get("/health/ready", summary="Whether the service can answer", responses=describe_refusals(503))
async def server_ready(state: StateDep) -> ServerHealth:
    """Answer 200 when `/readyz` does, else 503."""
    _check_ready(state)
    return ServerHealth(live=True, ready=True)


@router.get("/models/{model}", summary="One model's tensors", responses=describe_refusals(404, 422))
async def model_metadata(model: ModelPath, repository: RepositoryDep) -> ModelMetadata:
    """Return inputs and outputs of the default version."""
    return _metadata(repository, model, None)


@router.get(
    "/models/{model}/versions/{version}", summary="One version's tensors", responses=describe_refusals(404, 422)
)
async def version_metadata(model: ModelPath, version: VersionPath, repository: RepositoryDep) -> ModelMetadata:
    """Return inputs and outputs of one version."""
    return _metadata(repository, model, version)


@router.get("/models/{model}/ready", summary="Whether a model can answer", responses=describe_refusals(404, 422, 503))
async def model_ready(state: StateDep, model: ModelPath) -> ModelHealth:
    """Answer 200 when the service is ready and the default version passed verification."""
    return _ready(state, model, None)


@router.get(
    "/models/{model}/versions/{version}/ready",
    summary="Whether a version can answer",
    responses=describe_refusals(404, 422, 503),
)
async def version_ready(state: StateDep, model: ModelPath, version: VersionPath) -> ModelHealth:
    """Answer 200 when the service is ready and the version passed verification; its first request may take longer."""
    return _ready(state, model, version)


@router.post(
    "/repository/index",
    summary="All versions of all models",
    responses=describe_refusals(400, 408, 413, 415),
    openapi_extra=_body("IndexRequest"),
)
async def repository_index(request: Request, state: StateDep) -> list[IndexEntry]:
    """List every version with its state and the reason of a refusal; an empty body lists all."""
    wanted = validate_document(IndexRequest, await state.read_document(request))
    return index(state.repository, wanted.ready)


@router.post(
    "/repository/models/{model}/load",
    summary="Have a model answer (role admin)",
    responses=describe_refusals(400, 403, 404, 408, 413, 415, 422),
    openapi_extra=_body("LoadRequest"),
)
async def load(request: Request, state: StateDep, model: ModelPath, who: Admin) -> dict[str, str]:
    """Follow the store at once and load the model; return when its networks are built."""
    validate_document(LoadRequest, await state.read_document(request))
    await anyio.to_thread.run_sync(state.repository.refresh)
    await anyio.to_thread.run_sync(state.repository.load, model, True)
    log.info("%s loaded model %s", who.name, model)
    return {}


@router.post(
    "/repository/models/{model}/unload",
    summary="Have a model answer no more (role admin)",
    responses=describe_refusals(400, 403, 404, 408, 413, 415, 422),
    openapi_extra=_body("LoadRequest"),
)
async def unload(request: Request, state: StateDep, model: ModelPath, who: Admin) -> dict[str, str]:
    """Drop the networks of a model: requests in progress are answered, later ones refused until it is loaded."""
    validate_document(LoadRequest, await state.read_document(request))
    await anyio.to_thread.run_sync(state.repository.load, model, False)
    log.info("%s unloaded model %s", who.name, model)
    return {}


def _metadata(repository: ModelRepository, model: str, version: str | None) -> ModelMetadata:
    found = repository.model(model)
    return describe_model(found.version(version), found.versions)


def _ready(state: ServiceState, model: str, version: str | None) -> ModelHealth:
    found = state.repository.model(model).version(version)
    _check_ready(state)
    return ModelHealth(name=model, version=found.name)


def _check_ready(state: ServiceState) -> None:
    if not state.answering:
        raise NotReadyError("the service is not ready to answer: it is starting or draining")
