"""Authenticate requests by API key."""

from __future__ import annotations

from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import Request

from service.errors import UnauthorizedError
from service.http.api_keys import Key, Keyring

DESCRIPTION = "A key made by `slimbayes keys new`."
BEARER = HTTPBearer(auto_error=False, scheme_name="bearer", description=DESCRIPTION)
HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header", description=DESCRIPTION)
HOW = "send `Authorization: Bearer KEY` or `X-API-Key: KEY`"


def authenticate(request: Request, keyring: Keyring | None) -> Key | None:
    """Return the key that a request carries, None without a keyring; raise UnauthorizedError.

    Sets `request.state.caller` to the key's name; it stays None on paths that need no key.
    """
    if keyring is None:
        return None
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = bearer.strip() if scheme.lower() == "bearer" else ""
    given = given or request.headers.get("x-api-key", "")
    if not given:
        raise UnauthorizedError(f"this service needs a key: {HOW}")
    found = keyring.find(given)
    if found is None:
        raise UnauthorizedError("this key is unknown to this service: ask its operator for one", "invalid_token")
    request.state.caller = found.name
    return found
