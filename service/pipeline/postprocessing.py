"""Render results for `POST /predict`: each class with its spread, the prediction set, and the decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson

from model_store.manifest import Calibration
from service.inference.decision import ImageResult, conformal_quantile, conformal_sets, ranking
from service.inference.uncertainty import Predictive
from service.pipeline.answer_size import PIECE_VALUES
from service.pipeline.parameters import PredictQuery
from service.repository.level import LoadedLevel

# Decimals of a single draw's probability, which is there to be looked at.
DECIMALS = 4
# Stands for what is written apart; no JSON text has it.
HOLE = b"\0"


@dataclass(frozen=True)
class ResponseBuilder:
    """Build the predictions of one request.

    `quantile` is as in `conformal_sets`; `draws` adds the probability under each draw to the listed classes.
    """

    classes: tuple[str, ...]
    calibration: Calibration
    quantile: float | None
    top_k: int
    draws: bool = False

    @classmethod
    def for_level(cls, level: LoadedLevel, query: PredictQuery) -> Self:
        """Build the predictions of a level as a query asks for them; raise ParameterError for an unknown alpha."""
        quantile = conformal_quantile(query.alpha, level.level)
        return cls(level.manifest.classes, level.level.calibration, quantile, query.top_k, query.draws)

    def render(self, summary: Predictive) -> Iterator[tuple[list[dict[str, Any]], list[str] | None]]:
        """List the classes and build the prediction set of each image."""
        order_NK = ranking(summary)
        sets = conformal_sets(summary, order_NK, self.classes, self.quantile)
        return zip(self._classes(summary, order_NK), sets, strict=True)

    def document(self, result: ImageResult) -> dict[str, Any]:
        """Build the prediction of one image, as `service.api.schemas.Prediction` describes it."""
        shown, prediction_set = result.content
        rule = self.calibration.out_of_distribution
        return {
            "label": shown[0]["label"],
            "probability": result.confidence,
            "probabilities": shown,
            "uncertainty": {"total": result.total, "aleatoric": result.aleatoric, "epistemic": result.epistemic},
            "prediction_set": prediction_set,
            "decision": result.decision,
            "reason": result.reason,
            "ood": rule and {"score": rule.score, "value": result.ood_score, "threshold": rule.above},
            "monte_carlo": {"draws": result.draws, "standard_error": result.standard_error, "stop": result.stop},
        }

    def json(self, result: ImageResult) -> Iterator[bytes]:
        """Yield the pieces of the prediction of one image as JSON."""
        document = self.document(result)
        shown = document["probabilities"]
        count = max(1, PIECE_VALUES // (4 + (result.draws if self.draws else 0)))
        if len(shown) <= count:
            yield _dumps(document)
            return
        before, after = _dumps({**document, "probabilities": orjson.Fragment(HOLE)}).split(HOLE)
        yield before
        for start in range(0, len(shown), count):
            yield (b"[" if start == 0 else b",") + _dumps(shown[start : start + count])[1:-1]
        yield b"]" + after

    def _classes(self, summary: Predictive, order_NK: npt.NDArray[np.intp]) -> Iterator[list[dict[str, Any]]]:
        top_NK = order_NK[:, : self.top_k]
        images_N1 = np.arange(len(top_NK))[:, None]
        figures = [each[images_N1, top_NK].tolist() for each in (summary.mean, summary.std)]
        if summary.interval is None:
            figures += [[[None] * top_NK.shape[1]] * len(top_NK)] * 2
        else:
            figures += summary.interval[:, images_N1, top_NK].tolist()
        for number, (ks, *rows) in enumerate(zip(top_NK.tolist(), *figures, strict=True)):
            shown = [
                {"label": self.classes[k], "probability": mean, "std": std, "low": low, "high": high}
                for k, mean, std, low, high in zip(ks, *rows, strict=True)
            ]
            if self.draws:  # as arrays: lists would take four times the memory
                draws_KS = np.ascontiguousarray(summary.draws.p[:, number, ks].T.round(DECIMALS))
                for one, each_S in zip(shown, draws_KS, strict=True):
                    one["draws"] = each_S
            yield shown


def write_answer(answer: dict[str, Any], builder: ResponseBuilder, results: Sequence[ImageResult]) -> list[bytes]:
    """Write an answer as JSON, in pieces: `answer` has what it says beside its predictions."""
    if len(results) == 1 and not builder.draws:
        return [_dumps({**answer, "predictions": [builder.document(results[0])]})]
    before, after = _dumps({**answer, "predictions": orjson.Fragment(HOLE)}).split(HOLE)
    pieces = [before]
    for number, result in enumerate(results):
        pieces.append(b"," if number else b"[")
        pieces += builder.json(result)
    return [*pieces, b"]" + after]


def _dumps(document: object) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
