"""The plain manifests: what the chart makes, and what overlays make of that."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deploy.api_server import VERSIONS, check
from tests.support.deploy.helm import BIN, Helm, Manifest, values_of
from tests.support.deploy.kustomize import KUBERNETES, TREES, kustomized
from tests.support.project import PROJECT
from tests.support.waiting import HANG_S

pytestmark = pytest.mark.system
HELMS_OWN = {"helm.sh/chart", "app.kubernetes.io/managed-by", "helm.sh/resource-policy"}


def plain(manifests: list[Manifest]) -> dict[str, Any]:
    """Manifests by kind, without what is Helm's own and the order of what has names."""
    found = {}
    for manifest in manifests:
        metadata = manifest["metadata"]
        for part in ("labels", "annotations"):
            metadata[part] = {key: each for key, each in metadata.get(part, {}).items() if key not in HELMS_OWN}
        found[manifest["kind"]] = _in_order(manifest)
    return found


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(each) for key, each in value.items()}
    if isinstance(value, list):
        items = [_in_order(each) for each in value]
        named = all(isinstance(item, dict) and "name" in item for item in items)
        return sorted(items, key=lambda item: item["name"]) if named else items
    return value


def test_the_files_are_what_the_chart_makes(helm: Helm) -> None:
    """Else `make manifests` writes them anew."""
    command = [BIN / "python", PROJECT / "docker" / "helm" / "render.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("tree", TREES)
def test_it_is_what_the_chart_makes_of_the_same_wishes(helm: Helm, tree: str) -> None:
    assert plain(kustomized(tree)) == plain(helm.render(values_of(TREES[tree])))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tree", TREES)
def test_kubernetes_takes_it(tree: str, version: str) -> None:
    check(kustomized(tree), version)


@pytest.mark.parametrize("path", sorted(KUBERNETES.rglob("kustomization.yaml")), ids=lambda path: path.parent.name)
def test_every_file_is_used(path: Path) -> None:
    wanted = yaml.safe_load(path.read_text())
    named = set(wanted["resources"]) | {patch["path"] for patch in wanted.get("patches", [])}
    files = {file.name for file in path.parent.iterdir() if file.is_file()} - {path.name}
    assert {name for name in named if name.endswith(".yaml")} == files
