"""What the images install: locked with digests, in step with what is declared; scripts that are sound."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.project import PROJECT

FOLDER = PROJECT / "docker" / "requirements"
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())
EXTRAS = DECLARED["project"]["optional-dependencies"]
SERVE = [*DECLARED["project"]["dependencies"], *EXTRAS["tracing"]]
LOCKS = {
    "build": DECLARED["dependency-groups"]["image"],
    "serve": SERVE,
    "train": [*SERVE, *EXTRAS["train"]],
}
# As pip-audit writes them.
CLEAN: dict[str, Any] = {"name": "anyio", "version": "4.16.0", "vulns": []}
SKIPPED = {"name": "idna", "skip_reason": "Dependency not found on PyPI and could not be audited: idna (3.20)"}
FAULTY = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}]}
SCRIPTS = [FOLDER / "lock", *sorted((PROJECT / "docker" / "steps").iterdir())]


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Packages that a file installs on Linux, each with its version and its digests."""
    text = (FOLDER / f"{name}.txt").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            stated, *digests = re.split(r"\s+--hash=", line.strip())
            requirement = Requirement(stated)
            if requirement.marker is None or requirement.marker.evaluate({"sys_platform": "linux"}):
                found[canonicalize_name(requirement.name)] = (str(requirement.specifier).removeprefix("=="), digests)
    return found


def needed(wanted: list[str]) -> set[str]:
    """All that these requirements bring, by what is installed here."""
    names: set[str] = set()
    waiting = [(Requirement(text), "") for text in wanted]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for asked in {"", *requirement.extras}:
            if f"{name}[{asked}]" not in names:
                names.add(f"{name}[{asked}]")
                waiting += [(Requirement(text), asked) for text in requires(name) or ()]
    return {name.partition("[")[0] for name in names}


@pytest.mark.parametrize("name", [*LOCKS, "torch-cpu", "torch-cuda"])
def test_every_version_is_the_pinned_one_and_has_digests(name: str) -> None:
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(pin): version for pin, _, version in (line.partition("==") for line in lines)}
    for package, (version, digests) in locked(name).items():
        assert digests, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in digests)
        assert version.removesuffix("+cpu") == pins.get(package, version), package


@pytest.mark.parametrize("name", ["serve", "train"])
def test_a_lock_has_what_is_needed_and_nothing_else(name: str) -> None:
    """Else `make lock` writes it anew."""
    assert locked(name).keys() == needed(LOCKS[name]) - {"torch"}


def test_what_builds_is_locked() -> None:
    assert locked("build").keys() >= {canonicalize_name(Requirement(text).name) for text in LOCKS["build"]}
    backend = {canonicalize_name(Requirement(text).name) for text in DECLARED["build-system"]["requires"]}
    assert locked("build").keys() >= backend


def test_the_dockerfile_is_sound() -> None:
    """By hadolint, with no rule left out."""
    assert _checked("hadolint", "--no-color", PROJECT / "Dockerfile") == ""
    assert "hadolint ignore" not in (PROJECT / "Dockerfile").read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_sound(script: Path) -> None:
    assert _checked("shellcheck", script) == ""


def test_a_vulnerability_stops() -> None:
    stop, lines = _audit().report([CLEAN, FAULTY])
    assert stop
    assert "pillow 1.0: PYSEC-1, fixed in 1.1" in lines


def test_that_there_is_none_is_said() -> None:
    stop, lines = _audit().report([CLEAN, SKIPPED])
    assert not stop
    assert lines == ["2 packages, 0 vulnerabilities", "not audited: idna"]


@pytest.mark.parametrize("packages", [[], [SKIPPED]])
def test_that_nobody_could_be_asked_is_said(packages: list[Any]) -> None:
    assert _audit().report(packages)[1][0].startswith("NOT AUDITED")


def _audit() -> Any:
    specification = importlib.util.spec_from_file_location("audit", FOLDER / "audit.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _checked(tool: str, *arguments: str | Path) -> str:
    """What it complains of."""
    done = subprocess.run([Path(sys.executable).with_name(tool), *arguments], capture_output=True, text=True)
    return done.stdout + done.stderr
