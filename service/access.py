"""Who may ask: dependencies of the routes that need a key, or one with the role `admin`.

Routes get them where they are included, so that none is open by mistake; a test holds the list of those that are open.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from service.errors import ForbiddenError, UnauthorizedError
from service.keys import Key, Keyring

ABOUT = "A key that `slimbayes keys new` made."
BEARER = HTTPBearer(auto_error=False, scheme_name="bearer", description=ABOUT)
HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header", description=ABOUT)
HOW = "send `Authorization: Bearer KEY` or `X-API-Key: KEY`"


def identify(request: Request) -> Key | None:
    """Whose key a request carries, None where no keys are configured; raise UnauthorizedError without a right one.

    `request.state.caller` has the name from here on; until then, and on paths that ask for no key, it is None.
    """
    keyring: Keyring | None = request.app.state.keyring
    if keyring is None:
        return None
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = bearer.strip() if scheme.lower() == "bearer" else ""
    given = given or request.headers.get("x-api-key", "")
    if not given:
        raise UnauthorizedError(f"this service asks for a key: {HOW}")
    found = keyring.find(given)
    if found is None:
        raise UnauthorizedError("this key is not one of this service's: ask its operator for one", "invalid_token")
    request.state.caller = found.name
    return found


async def caller(
    request: Request, bearer: Annotated[object, Depends(BEARER)], header: Annotated[object, Depends(HEADER)]
) -> Key | None:
    """The same as a dependency, which tells clients how to send a key."""
    return identify(request)


Caller = Annotated[Key | None, Depends(caller)]


async def admin(found: Caller) -> Key:
    """The caller, who may administrate; raise ForbiddenError for others, and for all where there are no keys."""
    if found is None:
        raise ForbiddenError("this needs a key with the role admin, and this service has no keys: set keys_file")
    if found.role != "admin":
        raise ForbiddenError(f"this needs a key with the role admin: {found.name} has not got it")
    return found


Admin = Annotated[Key, Depends(admin)]


async def scraper(request: Request) -> None:
    """Of `/metrics`: as `caller` where the settings say so, else anybody."""
    if request.app.state.settings.metrics_key:
        identify(request)
