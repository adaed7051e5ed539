"""`GET /models` and below: the pruning levels side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel

from model_store.manifest import Manifest
from service.catalog import Catalog
from service.listing import Listing, ModelListing, VersionListing, list_model, list_models, list_version
from service.problem import describe

router = APIRouter(prefix="/models", tags=["models"])


class VersionDetail(BaseModel):
    """One version, with the whole manifest that was published with it."""

    model: str
    listing: VersionListing
    manifest: Manifest


def catalog_of(request: Request) -> Catalog:
    """The application's catalog."""
    catalog: Catalog = request.app.state.catalog
    return catalog


CatalogOf = Annotated[Catalog, Depends(catalog_of)]
ModelPath = Annotated[str, Path(description="Name of a model.", examples=["digits"])]


@router.get("", summary="All models with their levels")
async def models(catalog: CatalogOf) -> Listing:
    """Every model, version and level, with sparsity, size, cost, quality and the latency that this process has seen."""
    return list_models(catalog)


@router.get("/{model}", summary="One model", responses=describe(404))
async def model(model: ModelPath, catalog: CatalogOf) -> ModelListing:
    """One model with all its versions, newest first."""
    return list_model(catalog, model)


@router.get("/{model}/versions/{version}", summary="One version with its manifest", responses=describe(404))
async def version(
    model: ModelPath,
    version: Annotated[str, Path(description="A version or an alias.", examples=["production"])],
    catalog: CatalogOf,
) -> VersionDetail:
    """One version, and everything that was recorded when it was published."""
    served = catalog.version(model, version)
    assert served.manifest is not None
    return VersionDetail(model=model, listing=list_version(served, catalog.aliases[model]), manifest=served.manifest)
