"""Outputs of a scoring that cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scoring import Score


def test_an_output_that_cannot_be_written(score: Score, pictures: Path, tmp_path: Path) -> None:
    """Nor one that somebody else wrote."""
    (tmp_path / "file").write_text("")
    result = score(pictures, tmp_path / "file" / "out")
    assert (result.exit_code, "cannot be" in result.stderr) == (1, True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-00000.parquet").write_bytes(b"")
    result = score(pictures, tmp_path / "out")
    assert (result.exit_code, "but no plan" in result.stderr) == (1, True)
    assert (tmp_path / "out" / "part-00000.parquet").read_bytes() == b""


@pytest.mark.parametrize("content", [b"", b"hello", b"PAR1"], ids=repr)
def test_a_damaged_part_is_named(score: Score, pictures: Path, tmp_path: Path, content: bytes) -> None:
    """In one line, with what to do; then it is written again."""
    out = tmp_path / "out"
    assert score(pictures, out).exit_code == 4
    part = next(out.glob("part-*"))
    part.write_bytes(content)
    result = score(pictures, out)
    *_, said = result.stderr.splitlines()
    assert (result.exit_code, result.stderr.count("Error")) == (1, 1), result.stderr
    assert f"{part.name} of {out} is damaged: delete it and run again" in said
    part.unlink()
    assert score(pictures, out).exit_code == 4
