"""Define requests and responses of the Open Inference Protocol v2: a JSON document, then optionally binary tensors.

The protocol is that of KServe and Triton with Triton's binary extension: if the header
`Inference-Header-Content-Length` gives the document's length, tensors follow it, little-endian, row by row.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StrictBool, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from service.api.schemas import Degraded
from service.errors import MalformedError, ParameterError, RequestError
from service.http.content.json_body import parse_json
from service.http.problems import describe_validation
from service.pipeline.parameters import PredictOptions
from service.types import Decision, Reason, StopReason

HEADER = "Inference-Header-Content-Length"
# Values that a document may have beside its pixels.
EXTRA_VALUES = 256
# What clients of other servers send for those servers to schedule by or to decode by; here it has no meaning.
HINTS = {
    # tritonclient; Triton itself obeys timeout and priority only where the model's configuration says so.
    *("sequence_id", "sequence_start", "sequence_end", "priority", "timeout"),
    "triton_enable_empty_final_response",
    # MLServer, which takes it from the codec of the client, and the headers from its own front.
    *("content_type", "headers"),
}
# What would change where tensors are, or what they hold, and is not implemented.
UNSUPPORTED = {
    "classification": "classes by name: request probabilities, and take the classes from the model's metadata",
    **dict.fromkeys(
        ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"),
        "shared memory: send the tensor in the body",
    ),
}


def _without_hints(given: object) -> object:
    """Leave out hints for other servers; refuse, with the reason, what is not implemented."""
    if not isinstance(given, dict):
        return given
    if unsupported := UNSUPPORTED.keys() & given.keys():
        name = min(unsupported)
        what = {"name": name, "what": UNSUPPORTED[name]}
        raise PydanticCustomError("unsupported", "{name} is not supported: there is no {what}", what)
    return {name: value for name, value in given.items() if name not in HINTS}


Hinted = BeforeValidator(_without_hints)
Samples = Annotated[str, WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]})]


class InputParameters(BaseModel, extra="forbid"):
    """Announce that the values of a tensor follow the document."""

    binary_data_size: int | None = Field(None, ge=0, description="Bytes of the tensor after the document.")


class RequestInput(BaseModel, extra="forbid"):
    """A tensor with images: uint8 [N, H, W, C] as UINT8, or the bytes of N picture files as BYTES."""

    name: Literal["images"]
    shape: list[Annotated[int, Field(ge=0)]] = Field(
        description="[N, H, W, C], where the model says H, W and C; [N] or [N, 1] for BYTES."
    )
    datatype: Literal["UINT8", "BYTES"] = Field(description="UINT8 for pixels, BYTES for picture files.")
    parameters: Annotated[InputParameters | None, Hinted] = None
    data: list[Any] | None = Field(
        None,
        description="Pixels, in one list row by row or nested in the tensor's shape; for BYTES base64 or data URLs.",
    )


class OutputParameters(BaseModel, extra="forbid"):
    """Choose how one output is sent."""

    binary_data: StrictBool | None = Field(
        None, description="As bytes after the document; by default as the request says."
    )


class RequestOutput(BaseModel, extra="forbid"):
    """Name one requested output."""

    name: str = Field(description="One of the outputs that the model's metadata list.", examples=["probabilities"])
    parameters: Annotated[OutputParameters | None, Hinted] = None


class RequestParameters(PredictOptions, coerce_numbers_to_str=True):
    """Options of a request, and whether its outputs are sent as bytes after the document."""

    samples: Samples = Field("auto", description=PredictOptions.model_fields["samples"].description)
    binary_data_output: StrictBool = Field(False, description="Send outputs as bytes unless they say otherwise.")


class InferenceRequest(BaseModel, extra="forbid"):
    """Request inference; hints for other servers are passed over, other unknown keys and parameters are refused."""

    id: str | None = Field(None, description="Repeated in the response.")
    model_name: Any = Field(None, description="Ignored: the path names the model.")
    model_version: Any = Field(None, description="Ignored: the path names the version.")
    parameters: Annotated[RequestParameters | None, Hinted] = None
    inputs: list[RequestInput] = Field(min_length=1, max_length=1, description="One tensor, `images`.")
    outputs: list[RequestOutput] | None = Field(
        None, max_length=16, description="By default probabilities, std and uncertainty."
    )

    @property
    def options(self) -> RequestParameters:
        """Return the parameters, defaults where the request has none."""
        return self.parameters or RequestParameters()


class ResponseParameters(BaseModel):
    """Describe what answered and how; lists have one entry for each image."""

    version: str = Field(description="The model_version again, for clients that read only parameters.")
    level: str
    level_reason: str | None = Field(None, description="Why this level was selected, with level=auto.")
    degraded: Degraded | None = Field(None, description="Degradation under overload, if any.")
    draws: list[int] = Field(description="Draws used.")
    stops: list[StopReason] = Field(description="Why sampling stopped.")
    decisions: list[Decision]
    reasons: list[Reason | None] = Field(description="Why it abstains.")
    ood: list[float] | None = Field(
        None, description="OOD scores, by the score that the manifest names; absent if the level has none."
    )


class TensorParameters(BaseModel):
    """Announce that the values of an output follow the document."""

    binary_data_size: int = Field(description="Bytes of the tensor after the document.")


class ResponseOutput(BaseModel):
    """One output; its values are in `data`, or follow the document."""

    name: str
    datatype: Literal["FP32", "FP64"]
    shape: list[int]
    parameters: TensorParameters | None = None
    data: list[float] | None = Field(None, description="In one list, row by row.")


class InferenceResponse(BaseModel):
    """Response to a request for inference."""

    model_name: str
    model_version: str = Field(description="The version's name, also if the request gave an alias.")
    id: str | None = Field(None, description="The request's id.")
    parameters: ResponseParameters
    outputs: list[ResponseOutput]


def read_request(body: bytes, header: str | None, max_values: int) -> tuple[InferenceRequest, bytes]:
    """Parse the document of a body, and return the bytes that follow it; `header` gives the document's length.

    Raises MalformedError, ParameterError for a bad parameter, and TooLargeError for too many values.
    """
    text, rest = _parts(body, header)
    what = "the body" if header is None else f"the body up to {HEADER}, {header} bytes,"
    document = parse_json(text, max_values + EXTRA_VALUES, f"{max_values:,}", what)
    try:
        return InferenceRequest.model_validate(document), rest
    except ValidationError as error:
        raise _refused(error) from error


def _parts(body: bytes, header: str | None) -> tuple[bytes, bytes]:
    if header is None:
        return body, b""
    if re.fullmatch(r"[0-9]{1,12}", header) is None:
        raise MalformedError(f"{HEADER} must be a whole number of bytes, got {header[:20]!r}")
    if int(header) > len(body):
        raise MalformedError(f"{HEADER} is {int(header)}, but the body has {len(body)} bytes")
    return body[: int(header)], body[int(header) :]


def _refused(error: ValidationError) -> RequestError:
    """Tell bad parameters of a request from a malformed document."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    bad = [one for one in errors if one["loc"][:1] == ("parameters",) and len(one["loc"]) > 1]
    return ParameterError(describe_validation(bad, skip=1)) if bad else MalformedError(describe_validation(errors))
