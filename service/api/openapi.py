"""Complete the OpenAPI document with what routes read and write by hand."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from service.api.schemas import Promotion
from service.api.v2.metadata import IndexRequest, LoadRequest
from service.api.v2.schemas import InferenceRequest
from service.http.problems import Problem, Refusal

REFERENCE = "#/components/schemas/{model}"
BY_HAND = (Problem, Refusal, InferenceRequest, IndexRequest, LoadRequest, Promotion)
# The framework's own errors, which problem documents replace.
REPLACED = ("HTTPValidationError", "ValidationError")


def install_openapi(app: FastAPI, *, with_keys: bool) -> None:
    """Make the application serve the completed document; without keys it names no security schemes."""

    def document() -> dict[str, Any]:
        return app.openapi_schema or _complete(FastAPI.openapi(app), with_keys)

    app.openapi = document  # type: ignore[method-assign]


def _complete(document: dict[str, Any], with_keys: bool) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    _, found = models_json_schema([(model, "validation") for model in BY_HAND], ref_template=REFERENCE)
    schemas.update(found["$defs"])
    for name in REPLACED:
        schemas.pop(name, None)
    if not with_keys:
        document["components"].pop("securitySchemes", None)
        for operation in (each for methods in document["paths"].values() for each in methods.values()):
            operation.pop("security", None)
    return document
