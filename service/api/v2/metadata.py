"""Describe the server and its models for the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Literal, TypeVar

import orjson
from pydantic import BaseModel, Field, StrictBool, ValidationError

from service.api.v2.output_tensors import OUTPUTS
from service.errors import MalformedError
from service.http.problems import describe_validation
from service.repository.repository import ModelRepository
from service.repository.snapshot import LoadedVersion

EXTENSIONS = ("binary_tensor_data", "parameters", "model_repository")


class ServerMetadata(BaseModel):
    """Name, version and protocol extensions of the server."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """One tensor; -1 stands for any size."""

    name: str
    datatype: Literal["UINT8", "FP32", "FP64"]
    shape: list[int]


class Properties(BaseModel):
    """More about a version, as text; `classes` is a JSON list in the order of the outputs' classes."""

    version: str
    default_level: str
    levels: str
    classes: str


class ModelMetadata(BaseModel):
    """One model, as its answering version has it."""

    name: str
    versions: list[str] = Field(description="Versions that can answer, oldest first.")
    platform: str = "onnxruntime_onnx"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    properties: Properties


class IndexRequest(BaseModel, extra="forbid"):
    """Select what to list."""

    ready: StrictBool = Field(False, description="List only versions that can answer.")


class IndexEntry(BaseModel):
    """One version of a model."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = Field(description="Why it is not ready; empty if it is.")


def describe_server() -> ServerMetadata:
    """Describe this server."""
    return ServerMetadata(name="slimbayes", version=version("slimbayes"), extensions=list(EXTENSIONS))


def describe_model(version: LoadedVersion, versions: Mapping[str, LoadedVersion]) -> ModelMetadata:
    """Describe a version that can answer, among the versions of its model."""
    manifest = version.manifest
    assert manifest is not None
    shape, num_classes = manifest.input, len(manifest.classes)
    return ModelMetadata(
        name=manifest.model,
        versions=[name for name, each in versions.items() if each.manifest],
        inputs=[TensorMetadata(name="images", datatype="UINT8", shape=[-1, shape.height, shape.width, shape.channels])],
        outputs=[
            TensorMetadata(name=name, datatype=output.datatype, shape=output.shape(num_classes))
            for name, output in OUTPUTS.items()
        ],
        properties=Properties(
            version=version.name,
            default_level=manifest.default_level,
            levels=", ".join(version.levels),
            classes=orjson.dumps(manifest.classes).decode(),
        ),
    )


class LoadParameters(BaseModel, extra="forbid"):
    """Parameters of loading and unloading: none has an effect, since the store configures models."""

    unload_dependents: StrictBool = Field(False, description="No model here depends on another.")


class LoadRequest(BaseModel, extra="forbid"):
    """Load or unload a model."""

    parameters: LoadParameters | None = None


Document = TypeVar("Document", bound=BaseModel)


def validate_document(kind: type[Document], document: object) -> Document:
    """Validate a parsed document; raise MalformedError."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise MalformedError(describe_validation(error.errors())) from error


def index(repository: ModelRepository, ready_only: bool) -> list[IndexEntry]:
    """List every version of every model, or those that can answer."""
    found = [(model.name, version) for model in repository.models.values() for version in reversed(model.listed())]
    return [
        IndexEntry(
            name=model,
            version=version.name,
            state="READY" if version.manifest else "UNAVAILABLE",
            reason=version.refusal or "",
        )
        for model, version in found
        if version.manifest or not ready_only
    ]
