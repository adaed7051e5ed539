"""A scoring goes on only as it was begun: another plan or another input is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.scoring import SHARD, Score


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--level", "dense"], "begun with level"),
        (["--samples", "4"], "begun with samples"),
        (["--alpha", "0.05"], "begun with alpha 0.1, not 0.05"),
        (["--shard-size", "30"], "begun with shard_size 20, not 30"),
    ],
)
def test_another_plan_is_refused(
    score: Score, pictures: Path, tmp_path: Path, flags: list[str], says: str, begun: Path
) -> None:
    """It would make half an output of each."""
    shutil.copytree(begun, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    result = score(pictures, tmp_path / "out", "--shard-size", SHARD, *flags)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.fixture(scope="module")
def begun(score: Score, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output."""
    output = tmp_path_factory.mktemp("begun") / "out"
    score(pictures, output, "--shard-size", SHARD)
    return output


def test_another_input_is_refused(score: Score, pictures: Path, begun: Path, tmp_path: Path) -> None:
    """One picture written anew is enough; the same input elsewhere is the same input."""
    moved = tmp_path / "moved"
    shutil.copytree(pictures, moved)
    assert score(moved, begun, "--shard-size", SHARD).exit_code == 4
    path = moved / "a" / "000.png"
    path.write_bytes(path.read_bytes())
    result = score(moved, begun, "--shard-size", SHARD)
    assert result.exit_code == 1
    assert "the output belongs to another input" in result.stderr
