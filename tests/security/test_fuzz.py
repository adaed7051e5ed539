"""Inputs that were once too much for what reads them, and changed pictures: answered or refused, within a budget."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from fastapi.testclient import TestClient

from tests.fuzz.corpus import inputs
from tests.fuzz.targets import TARGETS
from tests.support.hostile.pictures.mutations import mutants
from tests.support.hostile.pictures.originals import originals
from tests.support.project import PROJECT
from tests.support.waiting import HANG_S


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_input_of_the_corpus_is_borne(target: str) -> None:
    """In a process of its own: one that is not may take all memory that it is given."""
    command = [sys.executable, "-m", "tests.fuzz.engine", target, "--replay", *map(str, inputs(target))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=HANG_S)
    found = list(map(json.loads, done.stdout.splitlines()))
    assert [each for each in found if "finding" in each] == []
    assert len(found) == len(list(inputs(target))), done.stderr[-2000:]
    assert done.returncode == 0


def test_changed_pictures_are_answered_or_refused(client: TestClient) -> None:
    """200 or 422; 415 where not even the format is left, 413 where the size grew."""
    statuses = set()
    for kind, data in mutants(originals(), count=600, seed=1):
        response = client.post(
            "/predict", params={"samples": 1}, content=data, headers={"content-type": f"image/{kind}"}
        )
        assert response.status_code in (200, 413, 415, 422), response.text
        assert response.status_code == 200 or response.json()["detail"].startswith("image 0")
        statuses.add(response.status_code)
    assert {200, 413, 415, 422} <= statuses
