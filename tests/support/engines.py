"""The key of draws, and logits without an engine, for tests of the engine."""

from __future__ import annotations

import numpy as np

from service.inference.artifact import Artifact
from service.inference.graph import with_constants
from service.inference.session import Session

KEY = "ab" * 32


def plain(artifact: Artifact, weights: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Logits of the undivided graph under some weights."""
    (logits,) = Session(with_constants(artifact.members[0].graph, weights)).run({"images": images})
    return logits
