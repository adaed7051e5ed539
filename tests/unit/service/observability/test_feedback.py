"""Answers are remembered in bounded memory, for the client that asked, and each image takes one label."""

from __future__ import annotations

import tracemalloc

import pytest

from model_store.manifest import read_manifest
from service.errors import NotFoundError, ParameterError, RepeatedError
from service.inference.decision import ClassesAnswered, FirstDraws, ImageResult
from service.observability.feedback import FeedbackMemory
from service.repository.level_stats import LevelStats
from tests.support.stores import GOLDEN_FOLDER

MANIFEST = read_manifest((GOLDEN_FOLDER / "manifest-v4.json").read_bytes())
CLASSES = ("ant", "bee", "wasp")
FIRST = FirstDraws(0.9, 0.1, 0.0)


@pytest.fixture
def stats() -> LevelStats:
    return LevelStats(MANIFEST, MANIFEST.levels[0])


def result(top: int = 0, bits: int | None = 0b1, accepted: bool = True) -> ImageResult:
    decision = ("accept", None) if accepted else ("abstain", "uncertain")
    figures = (0.9, 0.1, 0.1, 0.0, None, FIRST, None)
    return ImageResult(*decision, None, 4, "samples", *figures, ClassesAnswered(top, bits))  # type: ignore[arg-type]


def test_labels_are_counted_for_the_level_that_answered(stats: LevelStats) -> None:
    memory = FeedbackMemory(100)
    for number in range(25):
        memory.remember("ann", f"r{number}", [result(0, 0b01), result(1, 0b11)], 0.05, stats, CLASSES)
        memory.label("ann", f"r{number}", 0, "bee")
        memory.label("ann", f"r{number}", 1, "bee")
    assert stats.live.labels == 50
    assert stats.live.accuracy is not None
    assert stats.live.accuracy.value == 0.5
    assert stats.live.coverage[0.05].value == 0.5


def test_an_image_takes_one_label(stats: LevelStats) -> None:
    memory = FeedbackMemory(100)
    memory.remember("ann", "r", [result()], 0.1, stats, CLASSES)
    memory.label("ann", "r", 0, "wasp")
    for label in ("wasp", "ant"):
        with pytest.raises(RepeatedError, match="image 0 of request 'r' has a label already"):
            memory.label("ann", "r", 0, label)
    assert stats.live.labels == 1


def test_what_is_not_remembered_is_said(stats: LevelStats) -> None:
    memory = FeedbackMemory(100)
    memory.remember("ann", "r", [result()], 0.1, stats, CLASSES)
    with pytest.raises(NotFoundError, match="no answer to request 'other' of this client is remembered"):
        memory.label("ann", "other", 0, "ant")
    with pytest.raises(NotFoundError, match="of this client"):
        memory.label("eve", "r", 0, "ant")
    with pytest.raises(NotFoundError, match="had 1 images: there is no image 1"):
        memory.label("ann", "r", 1, "ant")
    with pytest.raises(ParameterError, match="label 'cat' is no class of the model: expected one of ant, bee, wasp"):
        memory.label("ann", "r", 0, "cat")
    memory.label("ann", "r", 0, "ant")


def test_an_id_used_again_stands_for_its_latest_request(stats: LevelStats) -> None:
    memory = FeedbackMemory(100)
    memory.remember("ann", "r", [result(), result()], 0.1, stats, CLASSES)
    memory.label("ann", "r", 0, "ant")
    memory.remember("ann", "r", [result()], 0.1, stats, CLASSES)
    assert memory.images == 1
    memory.label("ann", "r", 0, "ant")
    with pytest.raises(NotFoundError):
        memory.label("ann", "r", 1, "ant")


def test_the_oldest_answers_are_forgotten(stats: LevelStats) -> None:
    memory = FeedbackMemory(5)
    for name in "abc":
        memory.remember("ann", name, [result(), result()], 0.1, stats, CLASSES)
    assert memory.images == 4
    with pytest.raises(NotFoundError, match="or more than 5 images were answered since"):
        memory.label("ann", "a", 0, "ant")
    memory.label("ann", "b", 0, "ant")
    memory.remember("ann", "large", [result()] * 6, 0.1, stats, CLASSES)
    assert memory.images == 0


def test_an_answer_takes_the_memory_that_the_setting_says(stats: LevelStats) -> None:
    memory = FeedbackMemory(2_000)
    tracemalloc.start()
    try:
        for number in range(6_000):
            memory.remember(f"key {'x' * 20}", f"{number:032d}", [result()], 0.1, stats, CLASSES)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert memory.images == 2_000
    assert used / 2_000 < 700
