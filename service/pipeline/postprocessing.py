"""Render results for `POST /predict`: each class with its spread, the prediction set, and the decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from model_store.manifest import Calibration
from service.inference.decision import ImageResult, conformal_quantile, conformal_sets, ranking
from service.inference.uncertainty import Predictive
from service.pipeline.parameters import PredictQuery
from service.repository.level import LoadedLevel

# Decimals of a single draw's probability, which is there to be looked at.
DECIMALS = 4


@dataclass(frozen=True)
class ResponseBuilder:
    """Build the predictions of one request.

    `quantile` is as in `conformal_sets`; `draws` adds the probability under each draw to the listed classes.
    """

    classes: tuple[str, ...]
    calibration: Calibration
    quantile: float
    top_k: int
    draws: bool = False

    @classmethod
    def for_level(cls, level: LoadedLevel, query: PredictQuery) -> Self:
        """Build the predictions of a level as a query asks for them; raise ParameterError for an unknown alpha."""
        quantile = conformal_quantile(query.alpha, level.level)
        return cls(level.manifest.classes, level.level.calibration, quantile, query.top_k, query.draws)

    def render(self, summary: Predictive) -> Iterator[tuple[list[dict[str, Any]], list[str]]]:
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

    def _classes(self, summary: Predictive, order_NK: npt.NDArray[np.intp]) -> Iterator[list[dict[str, Any]]]:
        top_NK = order_NK[:, : self.top_k]
        images_N1 = np.arange(len(top_NK))[:, None]
        figures = summary.mean[images_N1, top_NK].tolist(), *summary.spread[:, images_N1, top_NK].tolist()
        for number, (ks, *rows) in enumerate(zip(top_NK.tolist(), *figures, strict=True)):
            shown = [
                {"label": self.classes[k], "probability": mean, "std": std, "low": low, "high": high}
                for k, mean, std, low, high in zip(ks, *rows, strict=True)
            ]
            if self.draws:
                for one, each_S in zip(shown, summary.draws.p[:, number, ks].T.round(DECIMALS).tolist(), strict=True):
                    one["draws"] = each_S
            yield shown
