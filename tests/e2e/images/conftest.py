"""The engine, for one module at a time, and the images, built once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.containers import IMAGES
from tests.support.image_engine import Engine, missing_requirement, open_engine
from tests.support.project import PROJECT
from tests.support.requirements import require

_built: set[str] = set()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    require(missing_requirement())
    with open_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    """The image that serves."""
    return _build(engine, "image")


@pytest.fixture(scope="module")
def train_image(engine: Engine) -> str:
    """The image that trains."""
    return _build(engine, "image-train")


def _build(engine: Engine, target: str) -> str:
    if target not in _built:
        engine.build(PROJECT, IMAGES[target], target)
        _built.add(target)
    return IMAGES[target]
