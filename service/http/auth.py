"""Who may ask: dependencies of the routes that need a key, or one with the role `admin`.

Routes get them where they are included, so that none is open by mistake; a test holds the list of those that are open.
"""

from __future__ import annotations

from fastapi import Request
from fastapi.security import APIKeyHeader, HTTPBearer

from service.errors import UnauthorizedError
from service.http.api_keys import Key, Keyring

ABOUT = "A key that `slimbayes keys new` made."
BEARER = HTTPBearer(auto_error=False, scheme_name="bearer", description=ABOUT)
HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header", description=ABOUT)
HOW = "send `Authorization: Bearer KEY` or `X-API-Key: KEY`"


def authenticate(request: Request) -> Key | None:
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
