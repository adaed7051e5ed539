"""What the Open Inference Protocol says of a server and its models."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Literal

import orjson
from pydantic import BaseModel, Field, StrictBool, ValidationError

from service.api.v2.output_tensors import OUTPUTS
from service.errors import MalformedError
from service.http.problems import in_words
from service.repository.repository import ModelRepository
from service.repository.snapshot import LoadedVersion

EXTENSIONS = ("binary_tensor_data", "parameters", "model_repository")


class ServerMetadata(BaseModel):
    """What this server is, and what it offers beyond the protocol."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor; -1 stands for any number."""

    name: str
    datatype: Literal["UINT8", "FP32", "FP64"]
    shape: list[int]


class Properties(BaseModel):
    """What else is known of a version, as text; `classes` is a JSON list in the order of the outputs' classes."""

    version: str
    default_level: str
    levels: str
    classes: str


class ModelMetadata(BaseModel):
    """One model, as the version that answers has it."""

    name: str
    versions: list[str] = Field(description="Versions that can answer, oldest first.")
    platform: str = "onnxruntime_onnx"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    properties: Properties


class IndexRequest(BaseModel):
    """What of the repository to list; keys that are not listed are passed over."""

    ready: StrictBool = Field(False, description="List only what can answer.")


class IndexEntry(BaseModel):
    """One version of a model."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = Field(description="Why it is not ready; empty where it is.")


def describe_server() -> ServerMetadata:
    """This server."""
    return ServerMetadata(name="slimbayes", version=version("slimbayes"), extensions=list(EXTENSIONS))


def describe_model(served: LoadedVersion, versions: Mapping[str, LoadedVersion]) -> ModelMetadata:
    """One version, which can answer, among the versions of its model."""
    manifest = served.manifest
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
            version=served.name,
            default_level=manifest.default_level,
            levels=", ".join(served.levels),
            classes=orjson.dumps(manifest.classes).decode(),
        ),
    )


def read_index_request(body: bytes) -> IndexRequest:
    """What to list; raise MalformedError where the body is neither empty nor such a document."""
    try:
        return IndexRequest.model_validate(orjson.loads(body)) if body else IndexRequest()
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body is not valid JSON: {error.msg}") from error
    except ValidationError as error:
        raise MalformedError(in_words(error.errors())) from error


def index(catalog: ModelRepository, ready_only: bool) -> list[IndexEntry]:
    """Every version of every model, or those that can answer."""
    found = [(model.name, served) for model in catalog.models.values() for served in reversed(model.listed())]
    return [
        IndexEntry(
            name=model,
            version=served.name,
            state="READY" if served.manifest else "UNAVAILABLE",
            reason=served.refusal or "",
        )
        for model, served in found
        if served.manifest or not ready_only
    ]
