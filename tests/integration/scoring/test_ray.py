"""The same on Ray, in a network of its own that has nothing but the loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.support.project import PROJECT
from tests.support.requirements import program
from tests.support.scoring import Score, check_complete
from tests.support.waiting import HANG_S

pytestmark = [pytest.mark.system, pytest.mark.slow]

SHARD, IMAGES = 20, 91
ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
PROGRAM = """
import logging, sys
import ray
ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", logging_level=logging.WARNING)
from service.cli.score import app
app(sys.argv[1:], standalone_mode=False)
"""


def on_ray(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`slimbayes score --engine ray` on a cluster of two processors."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(PROJECT)}
    for needed in ("unshare", "ip"):
        program(needed)
    command = [*ALONE, sys.executable, "-c", PROGRAM, *map(str, arguments), "--engine", "ray"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False)


def test_the_same_files(score: Score, digits_store: Path, pictures: Path, tmp_path: Path) -> None:
    """To the last byte, though some parts were there before, and whoever made them."""
    result = score(pictures, tmp_path / "here", "--shard-size", SHARD)
    check_complete(tmp_path / "here", IMAGES, SHARD)
    (tmp_path / "there").mkdir()
    for name in ("_plan.json", "part-00001.parquet"):
        (tmp_path / "there" / name).write_bytes((tmp_path / "here" / name).read_bytes())
    found = on_ray(tmp_path, pictures, tmp_path / "there", "--shard-size", SHARD, "--store", digits_store)
    assert f"{tmp_path}/there: {result.stdout.partition(': ')[2]}" in found.stdout, found.stderr
    assert "71 images in" in found.stderr
    check_complete(tmp_path / "there", IMAGES, SHARD)
    for path in (tmp_path / "here").iterdir():
        assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes()
    assert parquet.read_table(tmp_path / "there").num_rows == IMAGES
