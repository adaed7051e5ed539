"""Check the commands, settings and arithmetic of docs/guides/deploy.md."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess

import pytest

from service.settings import Settings
from tests.support.project import PROJECT
from tests.support.requirements import program

TEXT = (PROJECT / "docs" / "guides" / "deploy.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", TEXT.replace("\\\n", ""), re.DOTALL)
LINES = [line[2:] for block in BLOCKS for line in block.splitlines()]
COMMANDS = [shlex.split(part, comments=True) for line in LINES for part in re.split(r" && | > ", line)]
UNIT = PROJECT / "docker" / "systemd" / "slimbayes.service"


def test_targets_are_those_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", TEXT)) | {words[1] for words in COMMANDS if words[0] == "make"}
    assert {"image", "image-train"} <= named <= targets


def test_variables_are_settings() -> None:
    named = set(re.findall(r"SLIMBAYES_([A-Z]+(?:_[A-Z]+)*)\b", TEXT + UNIT.read_text()))
    assert named <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[:2] == ["podman", "run"]], ids=" ".join)
def test_containers_are_locked_down(words: list[str]) -> None:
    assert "--read-only" in words
    assert words[-1] == "slimbayes:latest" or words[words.index("slimbayes:latest") + 1] == "models"


@pytest.mark.system
def test_the_unit_is_understood() -> None:
    program("podman")  # which the unit calls
    checked = subprocess.run([program("systemd-analyze"), "verify", UNIT], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_unit_waits_longer_than_what_it_starts() -> None:
    unit = UNIT.read_text()
    (kill,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    (stop,) = re.findall(r"podman stop --time (\d+)", unit)
    assert int(kill) > int(stop) > Settings.model_fields["max_wait_ms"].default / 1000


def test_capacity_is_what_was_measured() -> None:
    """Each figure of the table follows from docs/results/http.json."""
    measured = json.loads((PROJECT / "docs" / "results" / "http.json").read_text())["overhead"]
    rates = [row["http_per_second"] for row in measured if row["level"] == "p80"]
    asked = 1_000_000 / 60
    replicas = [math.ceil(asked / (0.6 * rate)) for rate in rates]
    spare = [math.ceil(count * 3 / 2) for count in replicas]
    rows = {
        "one replica of two cores": [f"{rate:,.0f} images/s" for rate in rates],
        "of which to plan with, 60 %": [f"{0.6 * rate:,.0f} images/s" for rate in rates],
        "replicas: asked / planned, rounded up": [str(count) for count in replicas],
        "with one of three zones lost: × 3 / 2, rounded up": [str(count) for count in spare],
        "cores": [str(2 * count) for count in spare],
        "memory at 512 MiB each": [f"{count / 2:.1f} GiB" for count in spare],
        "requests through the balancer": [f"{asked / images:,.0f} /s" for images in (1, 32)],
    }
    for name, cells in rows.items():
        assert f"| {name} | {' | '.join(cells)} |" in TEXT
