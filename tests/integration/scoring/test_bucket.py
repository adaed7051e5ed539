"""Scoring from a bucket to a bucket, with a real S3 server behind it."""

from __future__ import annotations

from pathlib import Path

import obstore
import pytest
from obstore.store import from_url

from tests.support.backends import BUCKET, s3_environment
from tests.support.scoring import Score, check_complete

pytestmark = pytest.mark.system
SHARD, IMAGES = 20, 91


@pytest.mark.slow
def test_from_bucket_to_bucket(
    score: Score, pictures: Path, swift: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows as from a folder to a folder, also where part of it was there before."""
    for name, value in s3_environment(swift).items():
        monkeypatch.setenv(name, value)
    bucket = from_url(f"s3://{BUCKET}/scoring", client_options={"allow_http": True})
    for path in pictures.rglob("*.*"):
        obstore.put(bucket, f"in/{path.relative_to(pictures)}", path.read_bytes())
    here = score(pictures, tmp_path / "here", "--shard-size", SHARD)
    there = f"s3://{BUCKET}/scoring"
    for turn in range(2):
        result = score(f"{there}/in", f"{there}/out", "--shard-size", SHARD)
        assert result.exit_code == 4, result.output
        assert result.stdout.partition(": ")[2] == here.stdout.partition(": ")[2]
        assert ("images in" in result.stderr) == (turn == 0)
    (tmp_path / "there").mkdir()
    for page in bucket.list("out"):
        for found in page:
            name = found["path"].removeprefix("out/")
            (tmp_path / "there" / name).write_bytes(bytes(obstore.get(bucket, found["path"]).bytes()))
    assert check_complete(tmp_path / "there", IMAGES, SHARD) == check_complete(tmp_path / "here", IMAGES, SHARD)
