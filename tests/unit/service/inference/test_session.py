"""Sessions of ONNX Runtime: what takes longer than its limit is stopped, also in the middle of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_store.store import Store
from service.errors import TimeLimitError
from service.inference.artifact import Artifact, read_artifact
from service.inference.bank import Bank
from service.inference.session import Session, TimeLimit
from tests.support.engines import KEY
from tests.support.tiny_levels import FIRST, publish_tiny
from tests.support.waiting import HANG_S


@pytest.fixture
def endless(tmp_path: Path) -> Artifact:
    """A level of half a megabyte that computes for a minute or more."""
    publish_tiny(tmp_path, side=256, channels=64, convolutions=400)
    store = Store.open(tmp_path)
    return read_artifact(store.read_level(store.manifest("tiny", FIRST), "a"))


def test_a_level_that_computes_for_ever_is_stopped(endless: Artifact) -> None:
    images = np.zeros((1, *endless.image_shape), np.uint8)
    with TimeLimit(HANG_S) as limit:
        prefix = Bank(endless, KEY, limit=limit).prefixes[0].session
    with TimeLimit(0.5) as limit, pytest.raises(TimeLimitError, match="not built and tried within"):
        prefix.run({"images": images}, limit)
    assert limit.expired


def test_nothing_is_loaded_after_the_limit(zoo_level: Artifact) -> None:
    """And within it, all is as without one."""
    prefix = Bank(zoo_level, KEY).prefixes[0]
    images = np.zeros((2, *zoo_level.image_shape), np.uint8)
    with TimeLimit(HANG_S) as limit:
        found = Session(prefix.graph, limit=limit).run({"images": images}, limit)
    for one, other in zip(found, prefix.session.run({"images": images}), strict=True):
        np.testing.assert_array_equal(one, other)
    limit.expire()
    with pytest.raises(TimeLimitError):
        Session(prefix.graph, limit=limit)
