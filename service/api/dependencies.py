"""`GET /models` and below: the pruning levels side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from service.errors import ForbiddenError
from service.http.api_keys import Key
from service.http.auth import BEARER, HEADER, authenticate
from service.repository.repository import ModelRepository


async def repository_of(request: Request) -> ModelRepository:
    """The application's catalog."""
    catalog: ModelRepository = request.app.state.catalog
    return catalog


RepositoryDep = Annotated[ModelRepository, Depends(repository_of)]
ModelPath = Annotated[str, Path(description="Name of a model.", examples=["digits"])]
VersionPath = Annotated[str, Path(description="A version or an alias.", examples=["production"])]


async def require_key(
    request: Request, bearer: Annotated[object, Depends(BEARER)], header: Annotated[object, Depends(HEADER)]
) -> Key | None:
    """The same as a dependency, which tells clients how to send a key."""
    return authenticate(request)


Caller = Annotated[Key | None, Depends(require_key)]


async def require_admin(found: Caller) -> Key:
    """The caller, who may administrate; raise ForbiddenError for others, and for all where there are no keys."""
    if found is None:
        raise ForbiddenError("this needs a key with the role admin, and this service has no keys: set keys_file")
    if found.role != "admin":
        raise ForbiddenError(f"this needs a key with the role admin: {found.name} has not got it")
    return found


Admin = Annotated[Key, Depends(require_admin)]


async def require_metrics_key(request: Request) -> None:
    """Of `/metrics`: as `caller` where the settings say so, else anybody."""
    if request.app.state.settings.metrics_key:
        authenticate(request)
