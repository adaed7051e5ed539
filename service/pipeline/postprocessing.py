"""What an answer says: every number with its definition, and the decision that follows from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model_store.manifest import Calibration
from service.inference.decision import Decided, Verdict, conformal_sets, decide, ranking
from service.inference.uncertainty import Predictive, predictive
from service.types import FloatArray, StopReason

# Of a single draw's probability: it is there to be seen.
DECIMALS = 4


class Predicted(NamedTuple):
    """The answer for one image, as `Prediction` describes it, and what was decided."""

    document: dict[str, Any]
    verdict: Verdict


@dataclass(frozen=True)
class ResponseBuilder:
    """Makes answers of draws, for one request.

    `quantile` is as in `conformal_sets`; `draws` adds each draw to the classes that are listed.
    """

    classes: tuple[str, ...]
    calibration: Calibration
    quantile: float
    top_k: int
    draws: bool = False

    def __call__(self, logits_SNK: FloatArray, stop: StopReason) -> list[Predicted]:
        """What the draws of some images say."""
        summary, draws = predictive(logits_SNK, self.calibration.temperature), len(logits_SNK)
        order_NK = ranking(summary)
        error_N = summary.standard_error
        errors = [None] * len(order_NK) if error_N is None else error_N.tolist()
        entropies = (each.tolist() for each in (summary.total, summary.aleatoric, summary.epistemic))
        return [
            self._predicted(shown, names, own, decided, {"draws": draws, "standard_error": error, "stop": stop})
            for shown, names, own, decided, error in zip(
                self._classes(summary, order_NK),
                conformal_sets(summary, order_NK, self.classes, self.quantile),
                zip(*entropies, strict=True),
                decide(summary, self.calibration),
                errors,
                strict=True,
            )
        ]

    def _predicted(
        self,
        shown: list[dict[str, Any]],
        names: list[str],
        entropies: tuple[float, float, float],
        decided: Decided,
        sampling: dict[str, Any],
    ) -> Predicted:
        total, aleatoric, epistemic = entropies
        decision, reason, _ = decided
        label, probability = shown[0]["label"], shown[0]["probability"]
        document = {
            "label": label,
            "probability": probability,
            "probabilities": shown,
            "uncertainty": {"total": total, "aleatoric": aleatoric, "epistemic": epistemic},
            "prediction_set": names,
            "decision": decision,
            "reason": reason,
            "strangeness": self._strangeness(decided),
            "monte_carlo": sampling,
        }
        return Predicted(document, Verdict(decision, reason, sampling["draws"], probability, total, epistemic))

    def _classes(self, summary: Predictive, order_NK: npt.NDArray[np.intp]) -> Iterator[list[dict[str, Any]]]:
        """Of each image the classes that are listed."""
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

    def _strangeness(self, decided: Decided) -> dict[str, Any] | None:
        rule = self.calibration.out_of_distribution
        return None if rule is None else {"score": rule.score, "value": decided.strangeness, "above": rule.above}
