"""Sign and verify versions in the format of OpenSSF Model Signing 1.0, with ECDSA keys.

A signature is one object, `signature.json`, beside the manifest: a Sigstore bundle with a DSSE envelope around an
in-toto statement of the SHA-256 of manifest.json and of every level's file. ECDSA on P-256, P-384 or P-521, with the
hash of the curve's size. `model_signing verify key` accepts it for a folder of the version, and signatures that
`model_signing sign key` writes are accepted here. Verification needs the digests only, not the files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Base64Bytes, BaseModel, FailFast, Field, ValidationError

from model_store.errors import SignatureError, SigningKeyError
from model_store.manifest import MANIFEST, Manifest
from model_store.manifest.integrity import sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

SIGNATURE = "signature.json"
# Environment variable with the password of an encrypted key.
PASSWORD = "SLIMBAYES_SIGN_PASSWORD"
# About five times the size of the signature of a version with a hundred levels.
MAX_SIGNATURE_BYTES = 2**17
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
EXPECTED_KEY = "expected an ECDSA key on P-256, P-384 or P-521 in PEM"
Digests = Mapping[str, str]


class _Signature(BaseModel):
    sig: Base64Bytes


class _Envelope(BaseModel):
    payload: Base64Bytes
    payload_type: Literal["application/vnd.in-toto+json"] = Field(alias="payloadType")
    signatures: Annotated[tuple[_Signature, ...], Field(min_length=1, max_length=1), FailFast()]


class _Identifier(BaseModel):
    hint: str = ""


class _Material(BaseModel):
    public_key: _Identifier = Field(alias="publicKey")


class _Bundle(BaseModel):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"] = Field(alias="mediaType")
    material: _Material = Field(alias="verificationMaterial")
    envelope: _Envelope = Field(alias="dsseEnvelope")


class _Digest(BaseModel):
    sha256: str


class _Subject(BaseModel):
    digest: _Digest


class _Resource(BaseModel):
    name: str
    algorithm: Literal["sha256"]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Serialization(BaseModel):
    method: Literal["files"]
    hash_type: Literal["sha256"]


class _Predicate(BaseModel):
    serialization: _Serialization
    resources: Annotated[tuple[_Resource, ...], FailFast()]


class _Statement(BaseModel):
    kind: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[tuple[_Subject, ...], Field(min_length=1, max_length=1), FailFast()]
    predicate_type: Literal["https://model_signing/signature/v1.0"] = Field(alias="predicateType")
    predicate: _Predicate


def digests_of(manifest: Manifest, data: bytes) -> dict[str, str]:
    """Return the SHA-256 by name of what a signature covers: the manifest's bytes `data`, and each level's file."""
    return {MANIFEST: sha256(data)} | {level.file: level.sha256 for level in manifest.levels}


@dataclass(frozen=True)
class SigningKey:
    """A private ECDSA key."""

    key: EllipticCurvePrivateKey

    @classmethod
    def read(cls, path: Path, password: str | None = None) -> SigningKey:
        """Read the key from a PEM file, plain or encrypted with `password`, by default that in the environment.

        Raises SigningKeyError where the file has no usable key.
        """
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        password = os.environ.get(PASSWORD) if password is None else password
        try:
            key = load_pem_private_key(_read(path), password.encode() if password else None)
        except TypeError as error:  # a password for a plain key, or none for an encrypted one
            what = f"not encrypted: unset {PASSWORD}" if password else f"encrypted: set {PASSWORD}"
            raise SigningKeyError(f"the key in {path} is {what}") from error
        except ValueError as error:
            raise SigningKeyError(f"no private key in {path}, or its password is wrong") from error
        if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in CURVES:
            raise SigningKeyError(f"{path} has a key of another kind: {EXPECTED_KEY}")
        return cls(key)

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the public key."""
        return _fingerprint(self.key.public_key())

    def sign(self, manifest: Manifest) -> bytes:
        """Return the signature of a version, as written to the store."""
        digests = digests_of(manifest, manifest.to_json())
        payload = _statement(digests, f"{manifest.model}/{manifest.version}")
        bundle = {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": self.fingerprint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(self.signature_of(payload)).decode(), "keyid": ""}],
            },
        }
        return json.dumps(bundle, indent=2).encode() + b"\n"

    def signature_of(self, payload: bytes) -> bytes:
        """Return the bare signature of a payload, DER-encoded."""
        from cryptography.hazmat.primitives.asymmetric import ec

        return self.key.sign(_encoded(payload), ec.ECDSA(_hash(self.key.public_key())))


@dataclass(frozen=True)
class TrustedKeys:
    """Public keys by fingerprint; a version must be signed with one of them."""

    keys: Mapping[str, EllipticCurvePublicKey]

    @classmethod
    def read(cls, paths: Iterable[Path]) -> TrustedKeys:
        """Read public keys from PEM files, one per file; raise SigningKeyError where one has none."""
        return cls({_fingerprint(key): key for key in map(_public_key, paths)})

    def check(self, digests: Digests, signature: bytes | None, subject: str) -> str:
        """Return the fingerprint of the key that signed exactly these digests.

        Raises SignatureError where `subject` is unsigned, signed with an untrusted key, or was changed since.
        """
        if signature is None:
            raise SignatureError(f"{subject} is not signed, and only signed versions are trusted here")
        bundle = _bundle(signature, subject)
        fingerprint = self._signer(bundle, subject)
        if signed_digests(signature, subject) != digests:
            raise SignatureError(f"{subject} was changed after it was signed: its signature covers other files")
        return fingerprint

    def _signer(self, bundle: _Bundle, subject: str) -> str:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec

        payload, signature = _encoded(bundle.envelope.payload), bundle.envelope.signatures[0].sig
        for fingerprint, key in self.keys.items():
            try:
                key.verify(signature, payload, ec.ECDSA(_hash(key)))
            except InvalidSignature:
                continue
            return fingerprint
        hint = bundle.material.public_key.hint
        if hint in self.keys:
            raise SignatureError(f"the signature of {subject} was altered")
        raise SignatureError(f"{subject} is signed with a key that is not trusted here (SHA-256 {hint[:12]!r})")


def check_signed(manifest: Manifest, signature: bytes) -> None:
    """Raise SignatureError where a signature, whoever made it, is malformed or covers other files than a version's."""
    subject = f"{manifest.model} {manifest.version}"
    if signed_digests(signature, subject) != digests_of(manifest, manifest.to_json()):
        raise SignatureError(f"the signature of {subject} covers other files")


def signed_digests(signature: bytes, subject: str) -> dict[str, str]:
    """Return the digests that a signature covers, whoever made it; raise SignatureError where it is malformed."""
    try:
        statement = _Statement.model_validate_json(_bundle(signature, subject).envelope.payload)
    except ValidationError as error:
        raise SignatureError(f"the signature of {subject} does not cover a version") from error
    resources = statement.predicate.resources
    found = {each.name: each.digest for each in resources}
    if len(found) < len(resources) or statement.subject[0].digest.sha256 != _root(each.digest for each in resources):
        raise SignatureError(f"the signature of {subject} contradicts itself")
    return found


def _bundle(signature: bytes, subject: str) -> _Bundle:
    try:
        return _Bundle.model_validate_json(signature[: MAX_SIGNATURE_BYTES + 1])
    except ValidationError as error:
        raise SignatureError(f"the signature of {subject} is no signature of a model") from error


def _statement(digests: Digests, name: str) -> bytes:
    """Return the in-toto statement to sign."""
    resources = [{"name": each, "algorithm": "sha256", "digest": digests[each]} for each in sorted(digests)]
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root(each["digest"] for each in resources)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"serialization": serialization, "resources": resources},
    }
    return json.dumps(statement).encode()


def _root(digests: Iterable[str]) -> str:
    """Return the SHA-256 of all digests in their order."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def _encoded(payload: bytes) -> bytes:
    """Return the DSSE pre-authentication encoding of a payload, the bytes to sign."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _public_key(path: Path) -> EllipticCurvePublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningKeyError(f"there is no public key in {path}: {EXPECTED_KEY}") from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise SigningKeyError(f"{path} has a key of another kind: {EXPECTED_KEY}")
    return key


def _fingerprint(key: EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of the key in PEM, by which bundles name it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _hash(key: EllipticCurvePublicKey) -> HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    by_size: dict[int, HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    return by_size[key.key_size]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningKeyError(f"cannot read the key in {path}: {error.strerror}") from error
