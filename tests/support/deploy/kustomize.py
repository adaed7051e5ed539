"""Render the plain manifests with `kubectl kustomize`."""

from __future__ import annotations

import subprocess

from tests.support.deploy.helm import BIN, Manifest, parsed
from tests.support.project import PROJECT
from tests.support.requirements import require
from tests.support.waiting import HANG_S

KUBERNETES = PROJECT / "docker" / "kubernetes"
# Each with the chart's values that say the same.
TREES = {"base": "zoo", "overlays/folder": "folder", "overlays/s3": "s3", "kserve": "kserve"}


def kustomized(tree: str) -> list[Manifest]:
    """What `kubectl apply -k` would apply."""
    require(None if (BIN / "kubectl").exists() else "no kubectl in .venv-deploy: `make test-system` brings it")
    done = subprocess.run(
        [BIN / "kubectl", "kustomize", KUBERNETES / tree], capture_output=True, text=True, check=False, timeout=HANG_S
    )
    assert (done.returncode, done.stderr) == (0, "")
    return parsed(done.stdout)
