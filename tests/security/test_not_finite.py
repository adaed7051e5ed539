"""Networks that overflow on some images: an error that says so and is counted, never a number, and nobody else's."""

from __future__ import annotations

import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from service.cli.score import app
from service.errors import NotFoundError
from service.repository.repository import ModelRepository
from service.settings import Settings
from tests.support.http import PNG
from tests.support.restamped import overflow
from tests.support.scoring import rows_in
from tests.support.services import Warm, catalog_of


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


BLACK, WHITE = picture(0), picture(255)


@pytest.fixture(scope="module")
def overflowing(digits_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose levels have answers to black images only."""
    store = tmp_path_factory.mktemp("overflowing") / "store"
    shutil.copytree(digits_store, store)
    overflow(store)
    return store


@pytest.mark.parametrize("query", ["", "?samples=1", "?samples=8&draws=true", "?level=p50", "?deadline_ms=60000"])
def test_an_answer_that_is_not_finite_is_an_error(overflowing: Path, query: str) -> None:
    """A problem document with status 500, which the metrics count by its reason."""
    with Warm(overflowing) as client:
        refused = client.post(f"/predict{query}", content=WHITE, headers=PNG)
        assert (refused.status_code, refused.headers["content-type"]) == (500, "application/problem+json")
        problem = refused.json()
        assert (problem["status"], problem["image"]) == (500, 0)
        assert "no finite numbers" in problem["detail"]
        assert client.post(f"/predict{query}", content=BLACK, headers=PNG).status_code == 200
        metrics = client.get("/metrics").text
        (line,) = [line for line in metrics.splitlines() if 'reason="not_finite"' in line]
        assert 'outcome="failed"' in line
        assert line.endswith(" 1.0")
        assert "NaN" not in metrics


def test_the_other_protocol_says_so_too(overflowing: Path) -> None:
    with Warm(overflowing) as client:
        for value, status in ((255, 500), (0, 200)):
            tensor = {"name": "images", "shape": [1, 8, 8, 1], "datatype": "UINT8", "data": [value] * 64}
            answer = client.post("/v2/models/digits/infer", json={"inputs": [tensor]})
            assert answer.status_code == status
            assert ("no finite numbers" in answer.json().get("error", "")) == (status == 500)


def test_the_image_at_fault_is_named(overflowing: Path) -> None:
    with Warm(overflowing) as client:
        files = [("images", ("a.png", each, "image/png")) for each in (BLACK, BLACK, WHITE, BLACK)]
        refused = client.post("/predict", files=files)
        assert (refused.status_code, refused.json()["image"]) == (500, 2)


def test_other_clients_images_of_a_batch_go_on(overflowing: Path) -> None:
    """Many at once, half of them at fault, on one thread, so that they share batches."""
    with Warm(overflowing, threads=1, max_wait_ms=60_000) as client, ThreadPoolExecutor(16) as clients:
        bodies = [BLACK, WHITE] * 32
        answers = list(clients.map(lambda body: client.post("/predict", content=body, headers=PNG), bodies))
        assert [answer.status_code for answer in answers] == [200, 500] * 32
        alone = client.post("/predict", content=BLACK, headers=PNG).json()["predictions"]
        assert all(answer.json()["predictions"] == alone for answer in answers[::2])


def test_scoring_gives_such_an_image_an_error_in_its_row(overflowing: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(10):
        (tmp_path / "in" / f"{number}.png").write_bytes(WHITE if number % 3 == 1 else BLACK)
    result = CliRunner().invoke(app, [str(tmp_path / "in"), str(tmp_path / "out"), "--store", str(overflowing)])
    assert result.exit_code == 4, result.output
    rows = rows_in(tmp_path / "out")
    assert [row["error"] is not None for row in rows] == [number % 3 == 1 for number in range(10)]
    assert all("no finite numbers" in row["error"] and row["probability"] is None for row in rows[1::3])


def test_a_level_that_overflows_at_once_is_not_served(overflowing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any of its draws, not only in the first, which choose the kind of graph."""
    repository = ModelRepository(Settings(store=overflowing))
    try:
        level = repository.model(None).version(None).level(None)
        engine = level.engine(level.default_samples)
        last = engine.bank.blocks[-1]
        monkeypatch.setattr(last, "run", lambda *given: [each * np.nan for each in type(last).run(last, *given)])
        with pytest.raises(NotFoundError, match="not finite"):
            level.warm()
        assert level.bank is None
    finally:
        repository.close()


def test_metrics_of_levels_stay_finite(overflowing: Path) -> None:
    with Warm(overflowing) as client:
        client.post("/predict", content=WHITE, headers=PNG)
        stats = catalog_of(client).levels()[0].stats
        assert stats.answered == 0
