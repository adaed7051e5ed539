"""Pictures to score, and the command as a person types it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from pyarrow import parquet
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from service.score_cli import app
from tests.service.conftest import png

Score = Callable[..., Result]
Rows = list[dict[str, Any]]
DAMAGED = "b/damaged.png"


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Digits and noise in turn, uint8 [90, 8, 8, 1]."""
    digits = (load_digits().images[:45] * 255 / 16).astype(np.uint8)
    noise = np.random.default_rng(3).integers(0, 256, digits.shape, dtype=np.uint8)
    return np.stack([digits, noise], 1).reshape(-1, 8, 8, 1)


@pytest.fixture(scope="session")
def pictures(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as files in folders, with a damaged one, and among what is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(pixels):
        path = folder / "ab"[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(image[:, :, 0]))
    (folder / DAMAGED).write_bytes(png(pixels[0, :, :, 0])[:60])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="session")
def score(digits_store: Path) -> Score:
    """`slimbayes score` with the digits, on one thread."""

    def run(*arguments: object) -> Result:
        flags = ["--store", str(digits_store), "--threads", "1"]
        return CliRunner(env={"COLUMNS": "400"}).invoke(app, [*map(str, arguments), *flags])

    return run


def rows_in(output: Path) -> Rows:
    """All rows of an output, part by part."""
    parts = sorted(output.glob("part-*.parquet"))
    return [row for part in parts for row in parquet.read_table(part).to_pylist()]


def check_complete(output: Path, images: int, shard_size: int) -> Rows:
    """Every image has one row, where it belongs, and nothing is left over; returns the rows."""
    rows = rows_in(output)
    assert [row["row"] for row in rows] == list(range(images))
    assert len({row["id"] for row in rows}) == images
    expected = [f"part-{number:05d}.parquet" for number in range(-(-images // shard_size))]
    assert sorted(path.name for path in output.iterdir()) == ["_SUCCESS", "_plan.json", *expected]
    return rows
