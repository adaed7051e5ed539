"""Serve `GET /models` and below: compare pruning levels, and promote versions."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field, ValidationError

from model_store.reports.card import model_card
from service.api.dependencies import Admin, ModelPath, RepositoryDep, StateDep, VersionPath
from service.api.listing import list_model, list_models, list_version, sort_levels
from service.api.query import read_parameters
from service.api.schemas import Listing, ModelDetail, Promoted, Promotion, SortKey, VersionDetail
from service.errors import ParameterError
from service.http.problems import describe, describe_validation

log = logging.getLogger("slimbayes.service")
router = APIRouter(prefix="/models", tags=["models"])
PROMOTION_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Promotion"}}},
}


class MarkdownResponse(Response):
    """Respond with Markdown."""

    media_type = "text/markdown"


class Parameters(BaseModel, extra="forbid"):
    """Query parameters of `GET /models`."""

    model: str | None = Field(None, description="List only this model.")
    sort: SortKey | None = Field(None, description="Sort levels by this; as published by default.")
    descending: bool = Field(False, description="Sort from high to low.")


async def _read_parameters(request: Request) -> None:
    """Refuse parameters that the framework would take the last of, or an empty one; raise ParameterError."""
    read_parameters(request.scope["query_string"])


@router.get(
    "", summary="All models with their levels", dependencies=[Depends(_read_parameters)], responses=describe(404, 422)
)
async def models(repository: RepositoryDep, parameters: Annotated[Parameters, Query()]) -> Listing:
    """List every model, version and level with sparsity, size, cost, quality and measured latency."""
    listing = list_models(repository, parameters.model)
    return listing if parameters.sort is None else sort_levels(listing, parameters.sort, parameters.descending)


@router.get("/{model}", summary="One model", responses=describe(404, 422))
async def model(model: ModelPath, repository: RepositoryDep) -> ModelDetail:
    """Return one model with all versions, newest first, and the manifest of its default version."""
    manifest = repository.model(model).version(None).manifest
    assert manifest is not None
    return ModelDetail(**list_model(repository, model).model_dump(), manifest=manifest)


@router.get("/{model}/versions/{version}", summary="One version with its manifest", responses=describe(404, 422))
async def version(model: ModelPath, version: VersionPath, repository: RepositoryDep) -> VersionDetail:
    """Return one version with the manifest that was published with it."""
    snapshot = repository.model(model)
    found = snapshot.version(version)
    assert found.manifest is not None
    return VersionDetail(model=model, listing=list_version(found, snapshot.aliases), manifest=found.manifest)


@router.get(
    "/{model}/versions/{version}/card",
    summary="The model card of a version",
    response_class=MarkdownResponse,
    responses=describe(404, 422),
)
async def card(model: ModelPath, version: VersionPath, repository: RepositoryDep) -> MarkdownResponse:
    """Return the model card in Markdown: purpose, quality of the levels, decisions, limits."""
    manifest = repository.model(model).version(version).manifest
    assert manifest is not None
    return MarkdownResponse(model_card(manifest))


@router.post(
    "/{model}/aliases/{alias}",
    summary="Promote a version (role admin)",
    responses=describe(400, 403, 404, 408, 409, 413, 415, 422),
    openapi_extra={"requestBody": PROMOTION_BODY},
)
async def promote(
    request: Request,
    state: StateDep,
    model: ModelPath,
    alias: Annotated[str, Path(description="The alias, such as production.", examples=["production"])],
    who: Admin,
) -> Promoted:
    """Point an alias at a version in the store, for every service that reads it; effective here on return."""
    # By hand: the framework would read a body of any size, and before it authenticates.
    promotion = _promotion(await state.read_document(request))
    version = await anyio.to_thread.run_sync(state.repository.promote, model, alias, promotion.version, who.name)
    log.info("%s pointed alias %s of %s at %s", who.name, alias, model, version)
    return Promoted(model=model, alias=alias, version=version)


def _promotion(document: object) -> Promotion:
    """Validate the document of a promotion; raise ParameterError."""
    try:
        return Promotion.model_validate(document)
    except ValidationError as error:
        raise ParameterError(describe_validation(error.errors())) from error
