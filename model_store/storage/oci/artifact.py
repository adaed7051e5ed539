"""Map a store to artifacts in a registry: OCI image manifests that list blobs by digest.

    REPOSITORY:_store                             the store exists
    REPOSITORY:MODEL                              the store has, or will have, this model
    REPOSITORY/MODEL:VERSION                      a version: one layer per file, titled p80/model.onnx
    REPOSITORY/MODEL:VERSION.DIGEST               the same with a file added later, such as a signature
    REPOSITORY/MODEL:aliases.ALIAS.TIME.VERSION   a change of an alias
    REPOSITORY/MODEL:object-SHA256                any other object

A manifest contains its title, so that no two tags share a manifest: deleting one by digest deletes no other.
https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from model_store.aliases import read_change
from model_store.manifest import MANIFEST
from model_store.manifest.integrity import sha256
from model_store.names import is_version_name
from model_store.storage.object_storage import ObjectInfo

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
MEDIA_TYPE_PREFIX = "application/vnd.slimbayes."
VERSION_TYPE, OBJECT_TYPE, STORE_TYPE = (f"{MEDIA_TYPE_PREFIX}{kind}.v1" for kind in ("version", "object", "store"))
MANIFEST_TYPE = f"{MEDIA_TYPE_PREFIX}manifest.v1+json"
MEDIA_TYPES = {"onnx": "application/onnx", "json": "application/json"}
TITLE, CREATED = "org.opencontainers.image.title", "org.opencontainers.image.created"
MARKER = "_store"
EMPTY_JSON = b"{}"
EPOCH = datetime.fromtimestamp(0, UTC)
NAME_PART = re.compile(r"[^/\0]+")

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class Document(BaseModel):
    """Frozen model in OCI's spelling; ignores unknown keys."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class Descriptor(Document):
    """Reference to a blob by digest; as a layer, the object that its title names."""

    media_type: str
    digest: Digest
    size: Annotated[int, Field(ge=0)]
    annotations: dict[str, str] | None = None

    @property
    def title(self) -> str | None:
        """Return the object's name, or None where it is missing or leaves its folder."""
        title = (self.annotations or {}).get(TITLE, "")
        parts = title.split("/")
        return title if all(NAME_PART.fullmatch(part) and part not in (".", "..") for part in parts) else None

    @property
    def created(self) -> datetime:
        """Return the time of writing (aware), or 1970 where it is missing."""
        try:
            return datetime.fromisoformat((self.annotations or {}).get(CREATED, "")).astimezone(UTC)
        except (ValueError, OverflowError):
            return EPOCH

    def to_object_info(self, folder: str) -> ObjectInfo:
        """Return the object as a listing shows it."""
        return ObjectInfo(f"{folder}{self.title}", self.size, self.created)


class Artifact(Document):
    """An image manifest of a store."""

    schema_version: int = 2
    media_type: str = IMAGE_MANIFEST
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] | None = None

    @cached_property
    def objects(self) -> dict[str, Descriptor]:
        """Return the layers by title."""
        return {layer.title: layer for layer in self.layers if layer.title}

    @cached_property
    def digest(self) -> str:
        """Return the digest of the manifest."""
        return digest_of(self.to_json())

    def to_json(self) -> bytes:
        """Return the manifest's bytes."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def digest_of(data: bytes) -> str:
    """Return the digest of these bytes, as registries write it."""
    return f"sha256:{sha256(data)}"


def layer_of(title: str, digest: str, size: int) -> Descriptor:
    """Return the layer of an object that is written now."""
    media_type = MEDIA_TYPES.get(title.rpartition(".")[2], "application/octet-stream")
    annotations = {TITLE: title, CREATED: datetime.now(UTC).isoformat()}
    return Descriptor(media_type=media_type, digest=digest, size=size, annotations=annotations)


def version_artifact(version: str, objects: Mapping[str, Descriptor]) -> Artifact:
    """Build the artifact of a version from its objects by title; its manifest is also the configuration."""
    layers = tuple(layer for _, layer in sorted(objects.items()))
    return _artifact(VERSION_TYPE, objects[MANIFEST], MANIFEST_TYPE, layers, version)


def object_artifact(layer: Descriptor) -> Artifact:
    """Build the artifact of a single object."""
    return _artifact(OBJECT_TYPE, layer, OBJECT_TYPE, (layer,), layer.title or "")


def store_artifact(title: str) -> Artifact:
    """Build the marker of a store or model, which is always the same; its blob is EMPTY_JSON."""
    empty = Descriptor(media_type=EMPTY_TYPE, digest=digest_of(EMPTY_JSON), size=len(EMPTY_JSON))
    return Artifact(artifact_type=STORE_TYPE, config=empty, layers=(empty,), annotations={TITLE: title})


def read_artifact(data: bytes) -> Artifact | None:
    """Parse a manifest; return None where it is not an artifact of a store."""
    try:
        found = Artifact.model_validate_json(data)
    except ValidationError:
        return None
    return found if (found.artifact_type or found.config.media_type).startswith(MEDIA_TYPE_PREFIX) else None


def locate(path: str) -> tuple[str, str]:
    """Return the tag and the title of an object, by its name within the model."""
    version, separator, title = path.partition("/")
    if separator and is_version_name(version):
        return version, title
    if read_change(path) is not None:
        return path.removesuffix(".json").replace("/", "."), path
    return f"object-{sha256(path.encode())}", path


def folder_of(tag: str) -> str:
    """Return the folder within the model that titles under a tag are relative to."""
    return f"{tag}/" if is_version_name(tag) else ""


def editions_of(tags: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the tags of artifacts, each with the tags of its later editions."""
    found = {tag: set[str]() for tag in tags if is_version_name(tag) or tag.startswith(("aliases.", "object-"))}
    for tag in tags:
        if (version := tag.partition(".")[0]) != tag and is_version_name(version) and version in found:
            found[version].add(tag)
    return {tag: frozenset(editions) for tag, editions in found.items()}


def _artifact(
    kind: str, content: Descriptor, content_type: str, layers: tuple[Descriptor, ...], title: str
) -> Artifact:
    config = Descriptor(media_type=content_type, digest=content.digest, size=content.size)
    annotations = {TITLE: title, CREATED: datetime.now(UTC).isoformat()}
    return Artifact(artifact_type=kind, config=config, layers=layers, annotations=annotations)
