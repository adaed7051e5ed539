"""Turn errors into RFC 9457 problem documents, or into those of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from service.errors import ParameterError, RequestError

MEDIA_TYPE = "application/problem+json"
# Prefix of the paths of the Open Inference Protocol.
PROTOCOL = "/v2"


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field("about:blank", description="The kind of problem; title and status define it.")
    title: str = Field(description="The kind of problem as text.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong with this request, and what was expected.")
    request_id: str = Field(description="The id of this request, as in the header X-Request-ID.")
    image: int | None = Field(None, description="Index of the image that the problem is about, if it is about one.")


class Refusal(BaseModel):
    """An error document of the Open Inference Protocol."""

    error: str = Field(description="What was wrong with this request, and what was expected.")


def describe(*statuses: int, media_type: str = MEDIA_TYPE, schema: str = "Problem") -> dict[int | str, dict[str, Any]]:
    """Describe a route's error statuses for the OpenAPI document."""
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


# The same for a route of the Open Inference Protocol.
describe_refusals = partial(describe, media_type="application/json", schema="Refusal")


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of the application with a problem document."""
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)


def refuse(request: Request, error: RequestError) -> JSONResponse:
    """Build the response to a refused request, and record its kind for the metrics."""
    request.state.refusal = error.kind
    return problem_response(request, error.status, str(error), error.headers(), error.image)


async def _on_request_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return refuse(request, error)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    request.state.refusal = ParameterError.kind
    return problem_response(request, 422, describe_validation(error.errors(), skip=1))


def describe_validation(errors: Sequence[Any], skip: int = 0) -> str:
    """Describe pydantic errors in one line; `skip` leaves out the first parts of each location."""
    return "; ".join(_one_describe_validation(error, skip) for error in errors[:3])


def _one_describe_validation(error: Mapping[str, Any], skip: int) -> str:
    name = ".".join(map(str, error["loc"][skip:]))[:80]
    if error["type"] == "extra_forbidden":
        return f"unknown parameter {name!r}"
    # pydantic's own message would name an internal class.
    message = "Input should be an object" if error["type"] == "model_type" else error["msg"]
    message = message.removeprefix("Value error, ")
    return f"{name or 'the body'}: {message}"


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _methods(headers.get("Allow", "GET"))
    return problem_response(request, error.status_code, str(error.detail), headers)


def _methods(declared: str) -> str:
    """List the methods of a path: those of its route, `GET` for files, and what is answered for every route."""
    allowed = {name.strip() for name in declared.split(",")} | {"OPTIONS"}
    return ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))


def problem_response(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None, image: int | None = None
) -> JSONResponse:
    """Build the error response of a status, in the format of the request's protocol."""
    path: str = request.scope["path"]
    if path == PROTOCOL or path.startswith(f"{PROTOCOL}/"):
        return JSONResponse(Refusal(error=detail).model_dump(), status, headers)
    title, request_id = HTTPStatus(status).phrase, request.state.request_id
    problem = Problem(type="about:blank", title=title, status=status, detail=detail, request_id=request_id, image=image)
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)
