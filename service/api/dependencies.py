"""Declare what routes depend on: state, repository, keys, path parameters.

Keys are required where routers are included, so that no route is open by mistake; a test lists the open ones.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from service.api.state import ServiceState, state_of
from service.errors import ForbiddenError
from service.http.api_keys import Key
from service.http.auth import BEARER, HEADER
from service.repository.repository import ModelRepository


async def get_state(request: Request) -> ServiceState:
    """Return the application's state."""
    return state_of(request)


async def get_repository(request: Request) -> ModelRepository:
    """Return the application's models."""
    return state_of(request).repository


StateDep = Annotated[ServiceState, Depends(get_state)]
RepositoryDep = Annotated[ModelRepository, Depends(get_repository)]
ModelPath = Annotated[str, Path(description="Name of a model.", examples=["digits"])]
VersionPath = Annotated[str, Path(description="A version or an alias.", examples=["production"])]


async def require_key(
    request: Request, bearer: Annotated[object, Depends(BEARER)], header: Annotated[object, Depends(HEADER)]
) -> Key | None:
    """Require a key where keys are configured; the security schemes tell clients how to send one."""
    return state_of(request).authenticate(request)


Caller = Annotated[Key | None, Depends(require_key)]


async def require_admin(found: Caller) -> Key:
    """Require a key with the role admin; raise ForbiddenError for others, and for all without keys."""
    if found is None:
        raise ForbiddenError("this needs a key with the role admin, and this service has no keys: set keys_file")
    if found.role != "admin":
        raise ForbiddenError(f"this needs a key with the role admin, which {found.name} does not have")
    return found


Admin = Annotated[Key, Depends(require_admin)]


async def require_metrics_key(request: Request) -> None:
    """Require a key for `/metrics` if the settings say so."""
    state = state_of(request)
    if state.settings.metrics_key:
        state.authenticate(request)
