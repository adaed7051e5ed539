"""Scoring that is killed at any moment, alone and in company, writes each image once."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.support.scoring import Score, check_complete, start
from tests.support.waiting import HANG_S

SHARD, IMAGES, KILLS = 2, 91, 16
FLAGS = ("--shard-size", str(SHARD), "--batch", "1", "--samples", "4", "--level", "p90", "--threads", "1")


def parts(output: Path) -> int:
    """How many there are."""
    return len(list(output.glob("part-*")))


def kill_on_the_way(processes: Sequence[BaseProcess], output: Path, generator: random.Random) -> None:
    """End processes as no handler can notice, when they have written a few parts, or are about to."""
    enough, end = parts(output) + generator.randrange(4), time.monotonic() + HANG_S
    while parts(output) < enough and any(process.is_alive() for process in processes):
        assert time.monotonic() < end, "nothing was written"
        time.sleep(0.001)
    time.sleep(generator.uniform(0, 0.02) if enough else generator.uniform(0, 1))
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.slow
@pytest.mark.parametrize("company", [1, 2])
def test_each_image_once(score: Score, digits_store: Path, pictures: Path, tmp_path: Path, company: int) -> None:
    """After many kills, and when whoever is left has finished, the rows are those of a run that nobody disturbed."""
    score(pictures, tmp_path / "whole", *FLAGS[:-2])
    expected = check_complete(tmp_path / "whole", IMAGES, SHARD)
    output = tmp_path / "out"
    command = (str(pictures), str(output), "--store", str(digits_store), *FLAGS)
    generator, progress = random.Random(company), set[int]()
    for _ in range(KILLS // (2 * company)):
        kill_on_the_way([start(*command) for _ in range(company)], output, generator)
        progress.add(parts(output))
    assert not (output / "_SUCCESS").exists()
    assert len(progress) > KILLS // (4 * company)
    processes = [start(*command) for _ in range(company)]
    for process in processes:
        process.join(120)
        assert process.exitcode == 4
    assert check_complete(output, IMAGES, SHARD) == expected
