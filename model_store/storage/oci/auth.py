"""Authenticate to a registry: anonymously, by password, or by a token that is obtained with it.

A registry that requires authentication answers 401 and names the scheme (`WWW-Authenticate`): `Basic`, or `Bearer` with
the address of a token service. Credentials are read again at each such answer, so that a running process accepts
replaced ones:

    SLIMBAYES_REGISTRY_USERNAME, SLIMBAYES_REGISTRY_PASSWORD
    $REGISTRY_AUTH_FILE
    $DOCKER_CONFIG/config.json, by default ~/.docker/config.json
    $XDG_RUNTIME_DIR/containers/auth.json

https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from model_store.errors import ObjectError

VARIABLES = USERNAME, PASSWORD = "SLIMBAYES_REGISTRY_USERNAME", "SLIMBAYES_REGISTRY_PASSWORD"
DENIED = "the credentials do not allow it"
PARAMETER = re.compile(r'\b(\w+)="([^"]*)"')
# Username by which a credential helper marks a refresh token.
TOKEN_USERNAME = "<token>"
HELPER_TIMEOUT_S = 30.0
# Files have limits of their own.
MAX_DOCUMENT_BYTES = 2**22
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Request:
    """A request: `path` may be a whole URL; at most `limit` bytes of the response are read."""

    method: str
    path: str
    scope: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    limit: int = MAX_DOCUMENT_BYTES


# Sends a request for a token; returns the JSON object of a 200, or None where it is refused.
Send = Callable[[Request], dict[str, Any] | None]


@dataclass(frozen=True)
class Credentials:
    """A name and its password, or a refresh token."""

    username: str = ""
    password: str = ""
    refresh_token: str = ""

    @property
    def basic(self) -> str:
        """Return the value of the header for Basic authentication."""
        return f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}"


class Access:
    """Values of the header Authorization for requests to `place`, a `host[:port]/repository`, by scope."""

    def __init__(self, place: str, *, plain: bool) -> None:
        self.place, self.plain = place, plain
        self._values: dict[str, str] = {}

    def value(self, scope: str) -> str | None:
        """Return the value to send, or None before the registry asks for one."""
        return self._values.get(scope) or self._values.get("")

    def answer_challenge(self, challenge: str, scope: str, send: Send) -> None:
        """Obtain the authorization that a 401 asks for; raise ObjectError where that is not possible."""
        credentials = find_credentials(self.place)
        if re.search(r"\bbearer\b", challenge, re.IGNORECASE):
            parameters = dict(PARAMETER.findall(challenge))
            self._values[scope] = f"Bearer {self._token(parameters, scope, credentials, send)}"
        elif re.search(r"\bbasic\b", challenge, re.IGNORECASE) and credentials and not credentials.refresh_token:
            self._values[""] = credentials.basic
        else:
            raise self.refused(challenge)

    def refused(self, challenge: str) -> ObjectError:
        """Return the reason why authentication failed."""
        if find_credentials(self.place) is None:
            return ObjectError(f"it asks for credentials, and there are none for {self.place.partition('/')[0]}")
        return ObjectError(DENIED if "insufficient_scope" in challenge else "the credentials are wrong")

    def _token(self, parameters: Mapping[str, str], scope: str, credentials: Credentials | None, send: Send) -> str:
        realm = parameters.get("realm", "")
        if not realm.startswith(("https://", "http://") if self.plain else "https://"):
            raise ObjectError("its token service is not reached over TLS")
        asked = {"service": parameters.get("service", ""), "scope": parameters.get("scope") or scope}
        if credentials and credentials.refresh_token:
            form = asked | {"grant_type": "refresh_token", "client_id": "slimbayes"}
            content = urlencode(form | {"refresh_token": credentials.refresh_token}).encode()
            found = send(Request("POST", realm, headers=FORM, content=content))
        else:
            url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
            headers = {"Authorization": credentials.basic} if credentials else {}
            found = send(Request("GET", url, headers=headers))
        token = (found or {}).get("token") or (found or {}).get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self.refused("")
        return token


def find_credentials(place: str) -> Credentials | None:
    """Return the credentials for `host[:port]/repository` from the first source that has some.

    Raises ObjectError for an unreadable file.
    """
    username, password = os.environ.get(USERNAME), os.environ.get(PASSWORD)
    if username and password:
        return Credentials(username, password)
    for path in _files():
        try:
            document = json.loads(path.read_bytes())
            found = _in_file(document, place)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise ObjectError(f"the file of credentials {path.name} cannot be read") from error
        if found is not None:
            return found
    return None


def _files() -> Iterator[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield Path(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")) / "config.json"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"


def _in_file(document: dict[str, Any], place: str) -> Credentials | None:
    """Return the file's credentials for the place, from the longest matching entry."""
    host = place.partition("/")[0]
    helper = document.get("credHelpers", {}).get(host) or document.get("credsStore")
    if helper and (found := _from_helper(helper, host)):
        return found
    entries = {_place(key): entry for key, entry in document.get("auths", {}).items()}
    for key in sorted(entries, key=len, reverse=True):
        if f"{place}/".startswith(f"{key}/"):
            entry = entries[key]
            username, _, password = base64.b64decode(entry.get("auth", ""), validate=True).decode().partition(":")
            found = Credentials(username, password.rstrip("\0"), entry.get("identitytoken", ""))
            return found if found != Credentials() else None
    return None


def _place(key: str) -> str:
    """Return `host[:port]/…` of what docker writes as `https://host[:port]/v2/`."""
    return re.sub(r"/v[12]$", "", re.sub(r"^https?://", "", key).rstrip("/"))


def _from_helper(helper: str, host: str) -> Credentials | None:
    """Return the credentials that `docker-credential-HELPER` has for the host."""
    try:
        run = subprocess.run(
            [f"docker-credential-{helper}", "get"], input=host.encode(), capture_output=True, timeout=HELPER_TIMEOUT_S
        )
        if run.returncode:  # also where it has no credentials
            return None
        found = json.loads(run.stdout)
        username, secret = str(found["Username"]), str(found["Secret"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        raise ObjectError(f"docker-credential-{helper} does not give credentials") from error
    return Credentials(refresh_token=secret) if username == TOKEN_USERNAME else Credentials(username, secret)
