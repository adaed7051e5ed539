"""Keys to sign with, in the formats that openssl writes; docs/store.md has openssl itself make them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


@dataclass(frozen=True)
class Pair:
    """Files of a private key and of its public key."""

    private: Path
    public: Path


def make_pair(folder: Path, name: str, curve: str = "P-256", password: str = "") -> Pair:
    """Make a new pair, whose private key is encrypted where there is a password."""
    return _write(folder, name, ec.generate_private_key(CURVES[curve]), password)


def make_rsa_pair(folder: Path, name: str) -> Pair:
    """Make a pair of a kind that nothing is signed with."""
    return _write(folder, name, rsa.generate_private_key(65537, 2048))


def _write(folder: Path, name: str, key: PrivateKeyTypes, password: str = "") -> Pair:
    pair = Pair(folder / f"{name}.key", folder / f"{name}.pub")
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    pair.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    pair.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return pair
