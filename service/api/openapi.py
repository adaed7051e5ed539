"""The OpenAPI document: what the framework finds out by itself, and what routes read and write by hand."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from service.api.schemas import Promotion
from service.api.v2.metadata import IndexRequest
from service.api.v2.schemas import InferenceRequest
from service.http.problems import Problem, Refusal

REFERENCE = "#/components/schemas/{model}"
BY_HAND = (Problem, Refusal, InferenceRequest, IndexRequest, Promotion)
# The framework's own refusals, in whose place ours stand.
NEVER = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI) -> None:
    """Let the application describe itself with it."""
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        schemas = document["components"]["schemas"]
        _, found = models_json_schema([(model, "validation") for model in BY_HAND], ref_template=REFERENCE)
        schemas.update(found["$defs"])
        for name in NEVER:
            schemas.pop(name, None)
        if app.state.keyring is None:  # then nobody is asked for one
            document["components"].pop("securitySchemes", None)
            for operation in (each for methods in document["paths"].values() for each in methods.values()):
                operation.pop("security", None)
    assert app.openapi_schema is not None
    return app.openapi_schema
