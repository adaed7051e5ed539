"""Build the output tensors of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from service.api.v2.schemas import InferenceRequest, InferenceResponse, ResponseOutput, TensorParameters
from service.errors import MalformedError
from service.inference.decision import ImageResult
from service.inference.uncertainty import Predictive
from service.pipeline.answer_size import json_pieces
from service.pipeline.postprocessing import HOLE
from service.types import DoubleArray

# Little-endian on every machine.
DTYPES: dict[str, np.dtype[np.floating]] = {"FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}


@dataclass(frozen=True)
class Output:
    """One kind of tensor: its shape for K classes with −1 where it depends on the request, and its rows [N, …]."""

    datatype: Literal["FP32", "FP64"]
    shape: Callable[[int], list[int]]
    rows: Callable[[Predictive], DoubleArray]


OUTPUTS = {
    "probabilities": Output("FP64", lambda K: [-1, K], lambda summary: summary.mean),
    "std": Output("FP64", lambda K: [-1, K], lambda summary: summary.std),
    "uncertainty": Output(
        "FP64", lambda K: [-1, 3], lambda summary: np.stack((summary.total, summary.aleatoric, summary.epistemic), 1)
    ),
    "draws": Output("FP32", lambda K: [-1, -1, K], lambda summary: summary.draws.p.swapaxes(0, 1)),
}
DEFAULT = ("probabilities", "std", "uncertainty")


def requested_outputs(request: InferenceRequest) -> dict[str, bool]:
    """Return the requested outputs in order, and whether each is sent as bytes after the document.

    Raises MalformedError, listing what there is, for an unknown output or one that is named twice.
    """
    everywhere, found = request.options.binary_data_output, {}
    for output in request.outputs or []:
        if output.name not in OUTPUTS:
            raise MalformedError(f"no output {output.name[:80]!r}: there is {', '.join(OUTPUTS)}")
        if output.name in found:
            raise MalformedError(f"output {output.name!r} is requested twice")
        own = output.parameters.binary_data if output.parameters else None
        found[output.name] = everywhere if own is None else own
    return found or dict.fromkeys(DEFAULT, everywhere)


def render(names: Collection[str], summary: Predictive) -> Iterator[dict[str, npt.NDArray[np.floating]]]:
    """Compute the outputs with these names, by image."""
    rows = {name: OUTPUTS[name].rows(summary) for name in names}
    return ({name: each[number] for name, each in rows.items()} for number in range(len(summary.mean)))


def write_response(
    response: InferenceResponse, results: Sequence[ImageResult], outputs: Mapping[str, bool]
) -> tuple[list[bytes | memoryview], int | None]:
    """Encode a response with these outputs in pieces; return them, and the document's length if bytes follow it."""
    document: dict[str, Any] = response.model_dump(mode="json", exclude_none=True)
    buffers: list[memoryview] = []
    written: list[Iterator[bytes]] = []
    for name, binary in outputs.items():
        kind = OUTPUTS[name]
        values = np.stack([result.content[name] for result in results]).astype(DTYPES[kind.datatype], copy=False)
        output = ResponseOutput(name=name, datatype=kind.datatype, shape=list(values.shape))
        if binary:
            buffers.append(values.data.cast("B"))
            output.parameters = TensorParameters(binary_data_size=values.nbytes)
        else:
            written.append(json_pieces(values))
        data = {} if binary else {"data": orjson.Fragment(HOLE)}
        document["outputs"].append(output.model_dump(exclude_none=True) | data)
    first, *others = orjson.dumps(document).split(HOLE)
    text = [first]
    for pieces, after in zip(written, others, strict=True):
        text += [*pieces, after]
    return [*text, *buffers], sum(map(len, text)) if buffers else None
