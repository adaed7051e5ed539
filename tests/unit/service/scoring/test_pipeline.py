"""A scoring that was interrupted goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

from tests.support.scoring import SHARD, Score


def test_going_on(score: Score, pictures: Path, tmp_path: Path) -> None:
    """What is there stays as it is, what is missing is made as it was, and what killed processes left is removed."""
    output = tmp_path / "out"
    score(pictures, output, "--shard-size", SHARD)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in output.iterdir()}
    for name in ("part-00002.parquet", "part-00004.parquet", "_SUCCESS"):
        (output / name).unlink()
    (output / ".write-1234").write_bytes(b"half")
    result = score(pictures, output, "--shard-size", SHARD, "--batch", "7")
    assert result.exit_code == 4, result.output
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in output.iterdir()}
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    made = {name for name in after if after[name] != before[name]}
    assert made == {"part-00002.parquet", "part-00004.parquet", "_SUCCESS"}
    assert "31 images in" in result.stderr
    assert score(pictures, output, "--shard-size", SHARD).stdout == result.stdout
