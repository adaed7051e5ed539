"""checkov over the Dockerfile, the chart's renderings, the plain manifests and the composition."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deploy.helm import BIN, VALUES, Helm, values_of
from tests.support.deploy.kustomize import TREES, kustomized
from tests.support.project import PROJECT
from tests.support.waiting import HANG_S

pytestmark = pytest.mark.system
CONFIG = PROJECT / "docker" / "checkov.yaml"


@pytest.fixture(scope="module")
def found(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What checkov says of each framework, with no exceptions."""
    folder = tmp_path_factory.mktemp("checkov")
    for path in VALUES.iterdir():
        (folder / f"chart-{path.name}").write_text(yaml.safe_dump_all(helm.render(values_of(path.stem))))
    for tree in TREES:
        (folder / f"kustomize-{Path(tree).name}.yaml").write_text(yaml.safe_dump_all(kustomized(tree)))
    shutil.copytree(PROJECT / "docker" / "kubernetes" / "train", folder / "train")
    for name in ("Dockerfile", "docker/compose.yaml"):
        shutil.copy(PROJECT / name, folder)
    frameworks = yaml.safe_load(CONFIG.read_text())["framework"]
    command = [
        BIN / "checkov",
        "--directory",
        folder,
        "--framework",
        *frameworks,
        "--skip-download",
        "--output",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)
    assert done.returncode in {0, 1}, done.stderr
    return {each["check_type"]: each["results"] for each in json.loads(done.stdout)}


@pytest.mark.slow
def test_there_is_no_unexplained_exception(found: dict[str, Any]) -> None:
    """Nor one that is none any more."""
    failed = {check["check_id"]: check["resource"] for each in found.values() for check in each["failed_checks"]}
    allowed = set(yaml.safe_load(CONFIG.read_text())["skip-check"])
    assert failed.keys() == allowed, failed


@pytest.mark.slow
def test_it_looked_at_everything(found: dict[str, Any]) -> None:
    seen = {check["file_path"].lstrip("/") for each in found.values() for check in each["passed_checks"]}
    assert seen >= {f"chart-{path.name}" for path in VALUES.iterdir()} | {"Dockerfile", "train/job.yaml"}
    assert seen >= {f"kustomize-{Path(tree).name}.yaml" for tree in TREES}
    assert len(found["kubernetes"]["passed_checks"]) > 300


def test_every_exception_has_a_reason() -> None:
    lines = CONFIG.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith("- "):
            assert lines[number - 1].strip().startswith("# "), line
