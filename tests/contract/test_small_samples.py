"""Answers of a real level against very many draws: intervals hold the draws, standard errors the mean.

Each key of draws gives other answers to the same images; what all draws of all keys say is the truth.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.datasets import load_digits

from model_store.manifest.integrity import sha256
from model_store.store import Store
from service.inference.artifact import read_artifact
from service.inference.bank import Bank
from service.inference.decision import ImageResult, Postprocessor
from service.inference.early_stopping import EarlyStopping
from service.inference.engine import Engine
from service.inference.uncertainty import Draws
from service.pipeline.postprocessing import ResponseBuilder
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler
from service.settings import TOLERANCE

KEYS, IMAGES, SAMPLES, FEWEST = 20, 100, 32, 20
# Where a probability is more certain, draws are so skewed that few of them rarely show how far they reach.
ALMOST_CERTAIN = 0.99
pytestmark = pytest.mark.slow


class Answer(NamedTuple):
    """An answer, and the probability of its class under each of all draws."""

    result: ImageResult
    p_S: np.ndarray

    @property
    def interval(self) -> tuple[float | None, float | None]:
        first = self.result.content[0][0]
        return first["low"], first["high"]


@pytest.fixture(scope="module", params=["dense", "p90"])
def answers(request: pytest.FixtureRequest, digits_store: Path) -> list[Answer]:
    """To some digits, with early stopping and with 20 draws, for each key."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    level = manifest.level(request.param)
    assert level is not None
    artifact = read_artifact(store.read_level(manifest, level.name), level.roundings)
    images_NHWC = (load_digits().images[:IMAGES, :, :, None] * 255 / 16).astype(np.uint8)
    builder = ResponseBuilder(manifest.classes, level.calibration, quantile=0.5, top_k=1)
    rule, scheduler = EarlyStopping.from_calibration(level.calibration, TOLERANCE), Scheduler(2)
    results, logits = [], []
    with ThreadPoolExecutor(2) as builders:
        for number in range(KEYS):
            engine = Engine(Bank(artifact, sha256(str(number).encode())), builders)
            logits.append(engine.draws(images_NHWC, SAMPLES))
            for samples, stopping in ((SAMPLES, rule), (FEWEST, None)):
                postprocess = Postprocessor(level.calibration, builder.render, stopping)
                job = Job(engine, images_NHWC, samples, postprocess, stopping)
                scheduler.submit(job)
                results.append(job.future.result())
    scheduler.close()
    p_SNK = Draws.from_logits(np.concatenate(logits), level.calibration.temperature).p
    return [
        Answer(result, p_SNK[:, number, manifest.classes.index(result.content[0][0]["label"])])
        for found in results
        for number, result in enumerate(found)
    ]


def test_few_draws_have_no_interval(answers: list[Answer]) -> None:
    few = [each for each in answers if each.result.draws < FEWEST]
    assert len(few) > len(answers) / 4
    assert {each.interval for each in few} == {(None, None)}


def test_intervals_hold_the_draws(answers: list[Answer]) -> None:
    """Nine in ten of all, of the class that is most probable."""
    held = []
    for each in answers:
        low, high = each.interval
        if low is not None and high is not None:
            held.append(((low <= each.p_S) & (each.p_S <= high)).mean())
    assert len(held) > len(answers) / 2
    assert 0.85 < np.mean(held) < 0.95


def test_standard_errors_hold_the_mean(answers: list[Answer]) -> None:
    """Within 1.96 of them is the probability under very many draws, about as often as of a normal distribution."""
    held = [
        abs(each.result.confidence - each.p_S.mean()) <= 1.96 * (each.result.standard_error or 0)
        for each in answers
        if each.result.draws >= FEWEST and each.result.confidence < ALMOST_CERTAIN
    ]
    assert len(held) > 20 * KEYS
    assert 0.90 < np.mean(held) < 0.97
