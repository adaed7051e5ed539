"""Requests and answers of the Open Inference Protocol v2: a JSON document, after which the bytes of tensors may follow.

The protocol is that of KServe and Triton, with Triton's extension for binary tensors: where the header
`Inference-Header-Content-Length` says how long the document is, what follows are tensors, little-endian, row by row.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, WithJsonSchema

from service.api.schemas import Degraded
from service.errors import MalformedError, ParameterError, RequestError, TooLargeError
from service.http.problems import in_words
from service.pipeline.parameters import PredictOptions
from service.types import Decision, Reason, StopReason

HEADER = "Inference-Header-Content-Length"
# A document may have so many commas beside those between the values of its images.
MORE_COMMAS = 256
Samples = Annotated[str, WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]})]


class InputParameters(BaseModel):
    """Says that the values of a tensor follow the document."""

    model_config = ConfigDict(extra="forbid")

    binary_data_size: int | None = Field(None, ge=0, description="Bytes of the tensor after the document.")


class RequestInput(BaseModel):
    """A tensor with images: uint8 [N, H, W, C] as UINT8, or the bytes of N picture files as BYTES."""

    name: Literal["images"]
    shape: list[Annotated[int, Field(ge=0)]] = Field(
        description="[N, H, W, C], where the model says H, W and C; [N] for BYTES."
    )
    datatype: Literal["UINT8", "BYTES"] = Field(description="UINT8 for pixels, BYTES for picture files.")
    parameters: InputParameters | None = None
    data: list[Any] | None = Field(
        None, description="Pixels, in one list row by row or nested in the tensor's shape; for BYTES base64."
    )


class OutputParameters(BaseModel):
    """How one output is sent."""

    model_config = ConfigDict(extra="forbid")

    binary_data: StrictBool | None = Field(None, description="As bytes after the document; else as the request says.")


class RequestOutput(BaseModel):
    """An output that is asked for."""

    name: str = Field(description="One of the outputs that the model's metadata list.", examples=["probabilities"])
    parameters: OutputParameters | None = None


class RequestParameters(PredictOptions):
    """What a request may ask for, and whether its outputs are sent as bytes after the document."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    samples: Samples = Field("auto", description=PredictOptions.model_fields["samples"].description)
    binary_data_output: StrictBool = Field(False, description="Send outputs as bytes, where they do not say otherwise.")


class InferenceRequest(BaseModel):
    """A request for inference; keys that are not listed are passed over."""

    id: str | None = Field(None, description="Is in the answer again.")
    parameters: RequestParameters | None = None
    inputs: list[RequestInput] = Field(min_length=1, max_length=1, description="One tensor, `images`.")
    outputs: list[RequestOutput] | None = Field(
        None, max_length=16, description="By default probabilities, std and uncertainty."
    )

    @property
    def wanted(self) -> RequestParameters:
        """What it asks for, the defaults where it says nothing."""
        return self.parameters or RequestParameters()


class ResponseParameters(BaseModel):
    """What answered, and how; a list has one entry an image."""

    version: str = Field(description="The model_version, for clients that read only parameters.")
    level: str
    level_reason: str | None = Field(None, description="Why it is this level, where the request had a wish.")
    degraded: Degraded | None = Field(None, description="What was done less under overload.")
    draws: list[int] = Field(description="Draws used.")
    stops: list[StopReason] = Field(description="Why drawing stopped.")
    decisions: list[Decision]
    reasons: list[Reason | None] = Field(description="Why it abstains.")
    strangeness: list[float] | None = Field(
        None, description="By the score that the manifest names; nothing where the level was given none."
    )


class TensorParameters(BaseModel):
    """Says that the values of an output follow the document."""

    binary_data_size: int = Field(description="Bytes of the tensor after the document.")


class ResponseOutput(BaseModel):
    """An output; its values are in `data`, or follow the document."""

    name: str
    datatype: Literal["FP32", "FP64"]
    shape: list[int]
    parameters: TensorParameters | None = None
    data: list[float] | None = Field(None, description="In one list, row by row.")


class InferenceResponse(BaseModel):
    """The answer to a request for inference."""

    model_name: str
    model_version: str = Field(description="The version's name, also where the request gave an alias.")
    id: str | None = Field(None, description="The request's.")
    parameters: ResponseParameters
    outputs: list[ResponseOutput]


def read_request(body: bytes, header: str | None, most_values: int) -> tuple[InferenceRequest, bytes]:
    """The document of a body, and the bytes that follow it; `header` is the length of the document where it has one.

    Raises MalformedError, ParameterError for a bad parameter, and TooLargeError for more than so many values.
    """
    text, rest = _parts(body, header)
    # Counted before they are parsed.
    if text.count(b",") > most_values + MORE_COMMAS:
        raise TooLargeError(f"the request has far too many values: at most {most_values:,} are allowed")
    try:
        return InferenceRequest.model_validate(orjson.loads(text)), rest
    except orjson.JSONDecodeError as error:
        what = "the body" if header is None else f"the body up to {HEADER}, {header} bytes,"
        raise MalformedError(f"{what} is not valid JSON: {error.msg}") from error
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
    """A bad parameter of the request is one thing, a document of another form is another."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    bad = [one for one in errors if one["loc"][:1] == ("parameters",) and len(one["loc"]) > 1]
    return ParameterError(in_words(bad, skip=1)) if bad else MalformedError(in_words(errors))
