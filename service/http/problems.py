"""Errors as RFC 9457 problem documents, or as the Open Inference Protocol has them, and the id of every request."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from service.errors import ParameterError, RequestError

log = logging.getLogger("slimbayes.service")
MEDIA_TYPE = "application/problem+json"
# Paths below are those of the Open Inference Protocol.
PROTOCOL = "/v2"


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field("about:blank", description="Kind of problem; its title and status say it all.")
    title: str = Field(description="The kind of problem, in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong with this request, and what was expected.")
    request_id: str = Field(description="The id of this request, as in the header X-Request-ID.")
    image: int | None = Field(None, description="The place of the image that it is about, where it is about one.")


class Refusal(BaseModel):
    """What went wrong, as the Open Inference Protocol says it."""

    error: str = Field(description="What was wrong with this request, and what was expected.")


def describe(*statuses: int, media_type: str = MEDIA_TYPE, schema: str = "Problem") -> dict[int | str, dict[str, Any]]:
    """The statuses that a route answers with besides success, for the OpenAPI document."""
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def describe_refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for a route of the Open Inference Protocol."""
    return describe(*statuses, media_type="application/json", schema="Refusal")


def install(app: FastAPI) -> None:
    """Make every error of the application a problem document."""
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)


def refuse(request: Request, error: RequestError) -> JSONResponse:
    """The answer to a request that gets none."""
    request.state.refusal = error.kind
    return _respond(request, error.status, str(error), error.headers(), error.image)


async def _on_request_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return refuse(request, error)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    request.state.refusal = ParameterError.kind
    return _respond(request, 422, in_words(error.errors(), skip=1))


def in_words(errors: Sequence[Any], skip: int = 0) -> str:
    """What a document was refused for, without the first parts of where that is."""
    return "; ".join(_one_in_words(error, skip) for error in errors[:3])


def _one_in_words(error: Mapping[str, Any], skip: int) -> str:
    name = ".".join(map(str, error["loc"][skip:]))[:80]
    if error["type"] == "extra_forbidden":
        return f"unknown parameter {name!r}"
    # The library's own words for this one would name a class of ours.
    message = "Input should be an object" if error["type"] == "model_type" else error["msg"]
    return f"{name or 'the body'}: {message}"


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _respond(request, error.status_code, str(error.detail), error.headers)


def _respond(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None, image: int | None = None
) -> JSONResponse:
    path: str = request.scope["path"]
    if path == PROTOCOL or path.startswith(f"{PROTOCOL}/"):
        return JSONResponse(Refusal(error=detail).model_dump(), status, headers)
    title, request_id = HTTPStatus(status).phrase, request.state.request_id
    problem = Problem(type="about:blank", title=title, status=status, detail=detail, request_id=request_id, image=image)
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)
