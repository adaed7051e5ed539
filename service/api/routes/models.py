"""`GET /models` and below: the pruning levels side by side."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import anyio.to_thread
import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store.reports.card import model_card
from service.api.dependencies import Admin, ModelPath, RepositoryDep, VersionPath
from service.api.listing import list_model, list_models, list_version, sort_levels
from service.api.schemas import (
    Listing,
    ModelDetail,
    Promoted,
    Promotion,
    SortKey,
    VersionDetail,
)
from service.errors import MalformedError, ParameterError
from service.http.body import read_body
from service.http.problems import describe, in_words

log = logging.getLogger("slimbayes.service")
router = APIRouter(prefix="/models", tags=["models"])
PROMOTION_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Promotion"}}},
}


class MarkdownResponse(Response):
    """A text in Markdown."""

    media_type = "text/markdown"


class Parameters(BaseModel):
    """What to list, and how."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="List only this model.")
    sort: SortKey | None = Field(None, description="Sort levels by this; as published by default.")
    descending: bool = Field(False, description="Sort from high to low.")


@router.get("", operation_id="models_models_get", summary="All models with their levels", responses=describe(404, 422))
async def models(catalog: RepositoryDep, parameters: Annotated[Parameters, Query()]) -> Listing:
    """Every model, version and level, with sparsity, size, cost, quality and the latency that this process has seen."""
    listing = list_models(catalog, parameters.model)
    return listing if parameters.sort is None else sort_levels(listing, parameters.sort, parameters.descending)


@router.get("/{model}", operation_id="model_models__model__get", summary="One model", responses=describe(404, 422))
async def model(model: ModelPath, catalog: RepositoryDep) -> ModelDetail:
    """One model with all its versions, newest first, and the manifest of the one that answers by default."""
    manifest = catalog.model(model).version(None).manifest
    assert manifest is not None
    return ModelDetail(**list_model(catalog, model).model_dump(), manifest=manifest)


@router.get(
    "/{model}/versions/{version}",
    operation_id="version_models__model__versions__version__get",
    summary="One version with its manifest",
    responses=describe(404, 422),
)
async def version(
    model: ModelPath,
    version: VersionPath,
    catalog: RepositoryDep,
) -> VersionDetail:
    """One version, and everything that was recorded when it was published."""
    found = catalog.model(model)
    served = found.version(version)
    assert served.manifest is not None
    return VersionDetail(model=model, listing=list_version(served, found.aliases), manifest=served.manifest)


@router.get(
    "/{model}/versions/{version}/card",
    operation_id="card_models__model__versions__version__card_get",
    summary="The model card of a version",
    response_class=MarkdownResponse,
    responses=describe(404, 422),
)
async def card(model: ModelPath, version: VersionPath, catalog: RepositoryDep) -> MarkdownResponse:
    """What the version is for, how good its levels are, how it decides, and where not to trust it, in Markdown."""
    manifest = catalog.model(model).version(version).manifest
    assert manifest is not None
    return MarkdownResponse(model_card(manifest))


@router.post(
    "/{model}/aliases/{alias}",
    operation_id="promote_models__model__aliases__alias__post",
    summary="Promote a version (role admin)",
    responses=describe(400, 403, 404, 408, 409, 413, 415, 422),
    openapi_extra={"requestBody": PROMOTION_BODY},
)
async def promote(
    request: Request,
    model: ModelPath,
    alias: Annotated[str, Path(description="The alias, such as production.", examples=["production"])],
    catalog: RepositoryDep,
    who: Admin,
) -> Promoted:
    """Point an alias at a version, in the store, for every service that reads it; here it holds when this returns."""
    # By hand: the framework would read a body of any size, before it knows whose it is.
    promotion = _promotion(await read_body(request, catalog.settings.max_body_bytes))
    version = await anyio.to_thread.run_sync(catalog.promote, model, alias, promotion.version, who.name)
    log.info("%s pointed alias %s of %s at %s", who.name, alias, model, version)
    return Promoted(model=model, alias=alias, version=version)


def _promotion(body: bytes) -> Promotion:
    """What a body asks for; raise MalformedError where it is no JSON, ParameterError where it says something else."""
    try:
        return Promotion.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body is not valid JSON: {error.msg}") from error
    except ValidationError as error:
        raise ParameterError(in_words(error.errors())) from error
