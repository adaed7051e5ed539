"""The engine, for one module at a time, and the images, built once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image_engine import Engine, missing_requirement, open_engine

PROJECT = Path(__file__).resolve().parents[2]
# By their target in the Makefile.
IMAGES = {"image": "localhost/slimbayes:test", "image-train": "localhost/slimbayes-train:test"}
_built: set[str] = set()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if reason := missing_requirement():
        pytest.skip(reason)
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
