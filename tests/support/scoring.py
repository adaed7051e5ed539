"""Run `slimbayes score`, and check what it wrote."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from click.testing import Result
from pyarrow import parquet

from service.cli.score import app

Score = Callable[..., Result]
Rows = list[dict[str, Any]]
DAMAGED = "b/damaged.png"


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


PRELOAD = ["service.cli.score", "service.scoring.inventory", "service.scoring.pipeline"]


def start(*arguments: str) -> BaseProcess:
    """The process, which is running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=_score, args=(list(arguments),))
    process.start()
    return process


def _score(arguments: list[str]) -> None:

    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    app(arguments)


IMAGES, SHARD = 91, 20
