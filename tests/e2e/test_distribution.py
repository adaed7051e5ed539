"""What an installation brings."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from model_store.storage.location import ZOO
from service.api.routes.ui import ROOT as PAGE
from tests.support.project import PROJECT
from tests.support.waiting import HANG_S


@pytest.mark.slow
def test_the_wheel_has_the_zoo_and_the_page(tmp_path: Path) -> None:
    """Every file of it, and all packages, and nothing else at the top."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(PROJECT)]
    subprocess.run(command, check=True, timeout=HANG_S)
    (wheel,) = tmp_path.glob("slimbayes-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    here = {str(path.relative_to(PROJECT)) for folder in (ZOO, PAGE) for path in folder.rglob("*") if path.is_file()}
    assert here <= names
    assert any(name.endswith("model.onnx") for name in here)
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"model_store", "pruning", "service", "slimbayes", "training"}
