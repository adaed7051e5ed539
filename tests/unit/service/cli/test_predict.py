"""`slimbayes predict` against a real service: what it asks about, what it prints, how it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service.http.api_keys import Key
from tests.support.images import png
from tests.support.predicting import documents, predict
from tests.support.services import running_service


def test_strict(url: str, tmp_path: Path, digits: list[Path]) -> None:
    """Status 3 where something is abstained on, and only where that was asked for."""
    generator = np.random.default_rng(1)
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(png(generator.integers(0, 256, (8, 8), dtype=np.uint8)))
    asked = documents(predict(url, tmp_path, *digits, "--format", "json"))
    unsure = next(one["image"] for one in asked if one["decision"] == "abstain")
    sure = next(one["image"] for one in asked if one["decision"] == "accept")
    for arguments, status in (((unsure, sure), 0), ((unsure, sure, "--strict"), 3), ((sure, "--strict"), 0)):
        assert predict(url, *arguments).exit_code == status


def test_a_key_from_the_environment(digits_store: Path, digits: list[Path], tmp_path: Path) -> None:
    key, line = Key.make("ann", "user")
    (tmp_path / "keys").write_text(str(line))
    with running_service(digits_store, "--keys-file", str(tmp_path / "keys")) as (url, _):
        assert "needs a key" in predict(url, digits[0]).stderr
        assert predict(url, digits[0], "--key", key).exit_code == 0
        assert predict(url, digits[0], SLIMBAYES_KEY=key).exit_code == 0
