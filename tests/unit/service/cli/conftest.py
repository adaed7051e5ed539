"""A service to ask, and pictures of digits to ask about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.services import running_service


@pytest.fixture(scope="module")
def url(digits_store: Path) -> Iterator[str]:
    """A service that takes three images at a time."""
    with running_service(digits_store, "--max-images", "3") as (url, _):
        yield url


@pytest.fixture(scope="module")
def digits(digits_run: Path) -> list[Path]:
    """Pictures of digits."""
    return sorted((digits_run / "examples").glob("*.png"))[:7]


@pytest.fixture
def folder(tmp_path: Path, digits: list[Path]) -> Path:
    """Seven digits in folders of folders, among other files."""
    for number, digit in enumerate(digits):
        below = tmp_path / "digits" / "ab"[number % 2] / "c"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number}.PNG").write_bytes(digit.read_bytes())
    (tmp_path / "digits" / "notes.txt").write_text("not a picture")
    (tmp_path / "digits" / ".hidden.png").write_bytes(b"")
    return tmp_path / "digits"
