"""Prediction in process says what the service says, number for number, and needs no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from model_store.errors import NotInStoreError, StoreError
from model_store.store import Store
from service.api.schemas import Answer
from service.errors import ClientError, NotFoundError, ParameterError, UndecodableError
from service.predictor import CHUNK, Predictor, load


@pytest.fixture(scope="module")
def predictor(digits_store: Path) -> Predictor:
    return load(digits_store, "digits", level="p50", threads=1)


@pytest.fixture(scope="module")
def pictures(digits_run: Path) -> list[Path]:
    return sorted((digits_run / "examples").glob("*.png"))


@pytest.mark.parametrize("query", [{}, {"samples": 6, "draws": True, "top_k": 3}, {"alpha": 0.01}])
def test_answers_are_the_services(
    predictor: Predictor, client: TestClient, pictures: list[Path], query: dict[str, float]
) -> None:
    files = [("images", (path.name, path.read_bytes())) for path in pictures]
    response = client.post("/predict", params={"level": "p50", **query}, files=files)
    expected = Answer.model_validate_json(response.content)
    answer = predictor.predict(pictures, **query)
    assert answer.predictions == expected.predictions
    assert (answer.model, answer.version, answer.level) == (expected.model, expected.version, "p50")


def test_every_form_of_a_picture_has_one_answer(predictor: Predictor, pictures: list[Path]) -> None:
    path = pictures[0]
    image = Image.open(path)
    forms = [path, str(path), path.read_bytes(), image, np.asarray(image), np.asarray(image)[None, :, :, None]]
    first, *others = [predictor.predict(form).predictions for form in forms]
    assert len(first) == 1
    assert all(other == first for other in others)
    assert first[0].label in predictor.classes


def test_many_images_keep_their_order(predictor: Predictor, pictures: list[Path]) -> None:
    """In more than one piece; as each by itself."""
    many = [pictures[number % len(pictures)] for number in range(CHUNK + 5)]
    each = {path: predictor.predict(path, samples=4).predictions[0] for path in pictures}
    assert predictor.predict(many, samples=4).predictions == [each[path] for path in many]
    assert predictor.predict([]).predictions == []


def test_levels_and_versions_by_name(digits_store: Path, tmp_path: Path) -> None:
    store = Store.open(digits_store)
    default = load(store)
    assert default.level.name == store.manifest("digits", store.resolve("digits")).default_level
    assert repr(default).startswith(f"<digits {default.manifest.version}, level {default.level.name}, accuracy ")
    with pytest.raises(NotFoundError, match="no level 'p99': there is dense, p50, p90"):
        load(store, level="p99")
    with pytest.raises(NotInStoreError):
        load(store, "cats")
    with pytest.raises(StoreError):
        load(tmp_path / "missing")


def test_what_the_service_refuses_is_refused(predictor: Predictor, pictures: list[Path]) -> None:
    damaged = pictures[0].read_bytes()[:60]
    with pytest.raises(UndecodableError, match="image 1"):
        predictor.predict([pictures[0], damaged])
    with pytest.raises(ParameterError, match="from 1 to 256"):
        predictor.predict(pictures[0], samples=0)
    with pytest.raises(ParameterError, match="alpha must be one that level p50 is calibrated for"):
        predictor.predict(pictures[0], alpha=0.3)
    with pytest.raises(ParameterError, match="top_k"):
        predictor.predict(pictures[0], top_k=0)
    with pytest.raises(ClientError, match="cannot read"):
        predictor.predict("missing.png")


def test_it_ends_its_threads(digits_store: Path, pictures: list[Path]) -> None:
    with load(digits_store, threads=2) as predictor:
        assert predictor.predict(pictures[:2]).predictions
    assert not any(thread.is_alive() for thread in predictor._scheduler._threads)


def test_it_needs_no_torch(digits_store: Path, pictures: list[Path]) -> None:
    program = "import sys; sys.modules['torch'] = None; import slimbayes as sb; "
    program += f"print(sb.load({str(digits_store)!r}).predict({str(pictures[0])!r}).predictions[0].label)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in map(str, range(10))
