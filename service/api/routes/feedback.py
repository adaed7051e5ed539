"""Serve `POST /feedback`: true labels of images that were answered, for live quality."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError

from service.api.dependencies import StateDep
from service.api.feedback_schemas import Counted, Feedback
from service.errors import NotFoundError, ParameterError
from service.http.problems import describe, describe_validation
from service.http.rate_limit import client_of

router = APIRouter(tags=["predict"])


BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": Feedback.model_json_schema(),
            "example": {"request_id": "5f0c6f1c2b0e4a06b8d0a3b1f6d1f9aa", "image": 0, "label": "4"},
        }
    },
}


@router.post(
    "/feedback",
    summary="Tell the true label of an image that was answered",
    responses=describe(400, 404, 408, 409, 413, 415, 422, 429),
    openapi_extra={"requestBody": BODY},
)
async def feedback(request: Request, state: StateDep) -> Counted:
    """Count a label for the level that answered: `/status` and `/metrics` have accuracy, coverage and calibration.

    The service must run with `--feedback`. A label is taken from the client that asked, by key or address, once.
    """
    if state.feedback is None:
        raise NotFoundError("this service takes no feedback: start it with --feedback")
    client = client_of(request)
    state.rate_limiter.spend(client, 1)
    request.state.counted = True
    given = _feedback(await state.read_document(request))
    state.feedback.label(client, given.request_id, given.image, given.label)
    return Counted(request_id=given.request_id, image=given.image)


def _feedback(document: object) -> Feedback:
    """Validate the document; raise ParameterError."""
    try:
        return Feedback.model_validate(document)
    except ValidationError as error:
        raise ParameterError(describe_validation(error.errors())) from error
