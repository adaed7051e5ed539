"""What a request of the Open Inference Protocol may have of its images, as tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from model_store.manifest import Calibration
from service.api.v2.schemas import InferenceRequest, InferenceResponse, ResponseOutput, TensorParameters
from service.errors import MalformedError
from service.inference.decision import Verdict, decide
from service.inference.uncertainty import Predictive, predictive
from service.types import DoubleArray, FloatArray, StopReason

# Little-endian on every machine.
DTYPES: dict[str, np.dtype[np.floating]] = {"FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}


class Concluded(NamedTuple):
    """One image: its outputs by name, each a row of its tensor, what was decided, and why there were no more draws."""

    outputs: dict[str, npt.NDArray[np.floating]]
    verdict: Verdict
    strangeness: float | None
    stop: StopReason


@dataclass(frozen=True)
class Output:
    """One kind of tensor: its shape for K classes with −1 for what depends on the request, and its rows [N, …]."""

    datatype: Literal["FP32", "FP64"]
    shape: Callable[[int], list[int]]
    rows: Callable[[Predictive], DoubleArray]


OUTPUTS = {
    "probabilities": Output("FP64", lambda K: [-1, K], lambda summary: summary.mean),
    "std": Output("FP64", lambda K: [-1, K], lambda summary: summary.spread[0]),
    "uncertainty": Output(
        "FP64",
        lambda K: [-1, 3],
        lambda summary: np.stack((summary.total, summary.aleatoric, summary.epistemic), 1),
    ),
    "draws": Output("FP32", lambda K: [-1, -1, K], lambda summary: summary.draws.p.swapaxes(0, 1)),
}
DEFAULT = ("probabilities", "std", "uncertainty")


def requested_outputs(request: InferenceRequest) -> dict[str, bool]:
    """The outputs that a request asks for, in its order, and whether each is sent as bytes after the document.

    Raises MalformedError, listing what there is, for one that there is not, or that is asked for twice.
    """
    everywhere, found = request.wanted.binary_data_output, {}
    for output in request.outputs or []:
        if output.name not in OUTPUTS:
            raise MalformedError(f"no output {output.name[:80]!r}: there is {', '.join(OUTPUTS)}")
        if output.name in found:
            raise MalformedError(f"output {output.name!r} is asked for twice")
        own = output.parameters.binary_data if output.parameters else None
        found[output.name] = everywhere if own is None else own
    return found or dict.fromkeys(DEFAULT, everywhere)


def conclude(
    calibration: Calibration, names: Collection[str], logits_SNK: FloatArray, stop: StopReason
) -> list[Concluded]:
    """What the draws of some images say, in the outputs with these names."""
    summary, draws = predictive(logits_SNK, calibration.temperature), len(logits_SNK)
    rows = {name: OUTPUTS[name].rows(summary) for name in names}
    figures = (each.tolist() for each in (summary.mean.max(1), summary.total, summary.epistemic))
    return [
        Concluded(
            {name: each[number] for name, each in rows.items()},
            Verdict(decided.decision, decided.reason, draws, *own),
            decided.strangeness,
            stop,
        )
        for number, (decided, *own) in enumerate(zip(decide(summary, calibration), *figures, strict=True))
    ]


def write_response(
    response: InferenceResponse, images: Sequence[Concluded], outputs: Mapping[str, bool]
) -> tuple[bytes, int | None]:
    """The body of an answer with these outputs added, and the length of its document where bytes follow it."""
    document: dict[str, Any] = response.model_dump(mode="json", exclude_none=True)
    buffers: list[bytes] = []
    for name, binary in outputs.items():
        kind = OUTPUTS[name]
        values = np.stack([image.outputs[name] for image in images]).astype(DTYPES[kind.datatype], copy=False)
        output = ResponseOutput(name=name, datatype=kind.datatype, shape=list(values.shape))
        if binary:
            buffers.append(values.tobytes())
            output.parameters = TensorParameters(binary_data_size=values.nbytes)
        # As an array: orjson writes it many times faster than a list is made of it and checked.
        data = {} if binary else {"data": values.ravel()}
        document["outputs"].append(output.model_dump(exclude_none=True) | data)
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([text, *buffers]), len(text) if buffers else None
