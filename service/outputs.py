"""What a request of the Open Inference Protocol may have of its images, as tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from model_store.manifest import Calibration
from service.answer import Decision, Reason, StrangenessScore, Verdict, decide
from service.artifact import FloatArray
from service.errors import MalformedError
from service.inference import InferenceRequest, InferenceResponse, ResponseOutput, TensorParameters
from service.job import Stop
from service.uncertainty import DoubleArray, Predictive, predictive, softmax

Tensor = npt.NDArray[np.floating]
# Little-endian on every machine.
DTYPES: dict[str, np.dtype[np.floating]] = {"FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}


@dataclass(frozen=True)
class Concluded:
    """One image: what its draws say, how many there were and why no more, and where asked for their probabilities."""

    summary: Predictive
    decision: Decision
    reason: Reason | None
    strangeness: StrangenessScore | None
    draws: int
    stop: Stop
    p_SK: DoubleArray | None

    @property
    def verdict(self) -> Verdict:
        """What was decided, and how sure that is."""
        summary = self.summary
        confidence = float(summary.mean.max())
        return Verdict(self.decision, self.reason, self.draws, confidence, summary.total, summary.epistemic)


@dataclass(frozen=True)
class Output:
    """One kind of tensor: its shape for K classes with −1 for what depends on the request, and how it is made."""

    datatype: Literal["FP32", "FP64"]
    shape: Callable[[int], list[int]]
    values: Callable[[Sequence[Concluded]], Tensor]


def _draws(images: Sequence[Concluded]) -> Tensor:
    return np.stack([image.p_SK for image in images if image.p_SK is not None])


def _uncertainty(images: Sequence[Concluded]) -> Tensor:
    summaries = [image.summary for image in images]
    return np.array([(each.total, each.aleatoric, each.epistemic) for each in summaries])


OUTPUTS = {
    "probabilities": Output("FP64", lambda K: [-1, K], lambda images: np.stack([each.summary.mean for each in images])),
    "std": Output("FP64", lambda K: [-1, K], lambda images: np.stack([each.summary.spread[0] for each in images])),
    "uncertainty": Output("FP64", lambda K: [-1, 3], _uncertainty),
    "draws": Output("FP32", lambda K: [-1, -1, K], _draws),
}
DEFAULT = ("probabilities", "std", "uncertainty")


def asked(request: InferenceRequest) -> dict[str, bool]:
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


def conclude(calibration: Calibration, with_draws: bool, logits_SK: FloatArray, stop: Stop) -> Concluded:
    """What the draws of one image say."""
    summary = predictive(logits_SK, calibration.temperature)
    p_SK = softmax(logits_SK / np.float64(calibration.temperature)) if with_draws else None
    return Concluded(summary, *decide(summary, calibration), len(logits_SK), stop, p_SK)


def write_response(
    response: InferenceResponse, images: Sequence[Concluded], outputs: Mapping[str, bool]
) -> tuple[bytes, int | None]:
    """The body of an answer with these outputs added, and the length of its document where bytes follow it."""
    document: dict[str, Any] = response.model_dump(mode="json", exclude_none=True)
    buffers: list[bytes] = []
    for name, binary in outputs.items():
        kind = OUTPUTS[name]
        values = kind.values(images).astype(DTYPES[kind.datatype])
        output = ResponseOutput(name=name, datatype=kind.datatype, shape=list(values.shape))
        if binary:
            buffers.append(values.tobytes())
            output.parameters = TensorParameters(binary_data_size=values.nbytes)
        # As an array: orjson writes it many times faster than a list is made of it and checked.
        data = {} if binary else {"data": values.ravel()}
        document["outputs"].append(output.model_dump(exclude_none=True) | data)
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([text, *buffers]), len(text) if buffers else None
