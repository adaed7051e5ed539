"""Logits of draws on labelled images, and a level that could have made them."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_store.manifest import Level, Score, Strangeness, read_manifest
from tests.support.stores import GOLDEN_FOLDER

GOLDEN_LEVEL = read_manifest((GOLDEN_FOLDER / "manifest-v4.json").read_bytes()).levels[0]


def level(score: Score | None = "energy", members: int = 1) -> Level:
    """The level of a manifest, with another rule for images that are out of distribution."""
    rule = None if score is None else Strangeness(score=score, above=0.0)
    calibration = GOLDEN_LEVEL.calibration.model_copy(update={"out_of_distribution": rule})
    return GOLDEN_LEVEL.model_copy(update={"calibration": calibration, "members": members})


def draws(seed: int, count: int = 120, sharpness: float = 3.0, samples: int = 8) -> tuple[Any, Any, Any]:
    """Logits float32 [S, N, K] that are right most of the time, labels, and uniform numbers."""
    generator = np.random.default_rng(seed)
    labels_N = generator.integers(0, 4, count)
    logits_SNK = generator.normal(size=(samples, count, 4)) + sharpness * np.eye(4)[labels_N]
    return logits_SNK.astype(np.float32), labels_N, generator.random(count)
