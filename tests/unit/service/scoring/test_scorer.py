"""A scoring: what cannot be decoded has a row, and what was interrupted goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_store.signing import SigningKey
from model_store.store import Store
from service.cli.score import app
from tests.support.keys import make_pair
from tests.support.scoring import IMAGES, Score, check_complete


def test_only_what_is_trusted_is_scored(
    score: Score, digits_store: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where keys are given, in whatever folder, a version that none of them signed is refused."""
    (tmp_path / "keys, mine").mkdir()
    monkeypatch.chdir(tmp_path / "keys, mine")
    pair = make_pair(Path(), "key")
    result = score(pictures, tmp_path / "out", "--trusted-key", pair.public)
    assert (result.exit_code, "not signed" in result.stderr) == (1, True), result.stderr
    assert not (tmp_path / "out").exists()
    store = Store.open(shutil.copytree(digits_store, tmp_path / "store"))
    manifest = store.manifest("digits", store.resolve("digits"))
    store.attach(manifest, SigningKey.read(pair.private).sign(manifest))
    arguments = [pictures, tmp_path / "out", "--trusted-key", pair.public, "--store", store.url, "--threads", 1]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 4, result.output
    check_complete(tmp_path / "out", IMAGES, IMAGES)
