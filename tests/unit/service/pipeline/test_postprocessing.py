"""Predictions as documents: as they are described, with their sets of classes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model_store.manifest import Calibration, Strangeness
from service.api.schemas import Prediction
from service.inference.decision import Postprocessor
from service.pipeline.postprocessing import ResponseBuilder

ENERGY = Strangeness(score="energy", above=-5.0)


@pytest.mark.parametrize("draws", [1, 4, 20])
@pytest.mark.parametrize("strange", [ENERGY, None])
@pytest.mark.parametrize("with_draws", [True, False])
def test_answers_are_as_they_are_described(draws: int, strange: Strangeness | None, with_draws: bool) -> None:
    """The document has all that `Prediction` has, in its order, and nothing else."""
    calibration = Calibration(temperature=1.0, conformal_quantiles={}, abstain_above=1.0, out_of_distribution=strange)
    logits = np.random.default_rng(0).normal(size=(draws, 5, 3)).astype(np.float32)
    builder = ResponseBuilder(("a", "b", "c"), calibration, quantile=0.6, top_k=2, draws=with_draws)
    for result in Postprocessor(calibration, builder.render)(logits, "converged"):
        document = json.loads(b"".join(builder.json(result)))
        described = Prediction.model_validate(document).model_dump(mode="json")
        assert json.dumps(described) == json.dumps(document)
        ends = {shown[end] is None for shown in document["probabilities"] for end in ("low", "high")}
        assert ends == {draws < 20}


def test_prediction_sets() -> None:
    """Every class that is probable enough, and the most probable one in any case."""
    calibration = Calibration(temperature=1.0, conformal_quantiles={}, abstain_above=1.0)
    logits = np.log([[[0.2, 0.5, 0.3], [0.05, 0.05, 0.9], [0.35, 0.33, 0.32]]]).astype(np.float32)

    def sets(quantile: float) -> list[list[str]]:
        builder = ResponseBuilder(("a", "b", "c"), calibration, quantile=quantile, top_k=1)
        return [result.content[1] for result in Postprocessor(calibration, builder.render)(logits, "samples")]

    assert sets(0.72) == [["b", "c"], ["c"], ["a", "b", "c"]]
    assert sets(0.0) == [["b"], ["c"], ["a"]]
