"""What gives tokens for a registry, as hosted ones have it: who asks with a name and its password gets what it may do.

https://distribution.github.io/distribution/spec/auth/jwt/
"""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.registry_front import Answered, Asked

SERVICE, ISSUER = "registry of these tests", "these tests"
# Name to password and what it may do.
USERS = {
    "writer": ("writing", ["pull", "push", "delete"]),
    "reader": ("reading", ["pull"]),
}
REFRESH_TOKEN = "a refresh token of the writer"


class TokenService:
    """Signs tokens; `rule` is for a Front, `configuration` for the registry."""

    def __init__(self, folder: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .sign(self.key, hashes.SHA256())
        )
        self.bundle = folder / "bundle.pem"
        self.bundle.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self.given = 0

    def configuration(self, realm: str) -> dict[str, Any]:
        """The registry's part."""
        told = {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self.bundle)}
        return {"token": told}

    def rule(self, asked: Asked) -> Answered:
        """A token for who it is that asks, 401 for who it does not know."""
        if asked.method == "POST":
            query = parse_qs(asked.body.decode())
            actions = USERS["writer"][1] if query.get("refresh_token") == [REFRESH_TOKEN] else None
        else:
            query = parse_qs(asked.path.partition("?")[2])
            actions = _actions(asked.headers.get("authorization", ""))
        if actions is None or query.get("service") != [SERVICE]:
            return Answered(401, {})
        self.given += 1
        token = self._token(query.get("scope", [""])[0], actions)
        return Answered(200, {}, json.dumps({"access_token" if asked.method == "POST" else "token": token}).encode())

    def _token(self, scope: str, actions: list[str]) -> str:
        kind, _, rest = scope.partition(":")
        name, _, wanted = rest.rpartition(":")
        granted = sorted(set(wanted.split(",")) & set(actions))
        now = int(time.time())
        times = {"nbf": now - 60, "iat": now, "exp": now + 300}
        claims = {"iss": ISSUER, "sub": "somebody", "aud": SERVICE, "jti": str(self.given), **times}
        chain = [base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()]
        access = [{"type": kind, "name": name, "actions": granted}]
        return jwt.encode(claims | {"access": access}, self.key, algorithm="ES256", headers={"x5c": chain})


def _actions(authorization: str) -> list[str] | None:
    user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
    known, actions = USERS.get(user, ("", []))
    return actions if known and known == password else None
