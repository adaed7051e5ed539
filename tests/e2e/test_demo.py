"""The whole line, as a person sees it: `slimbayes demo --exit`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.store import Store
from tests.support.waiting import HANG_S


@pytest.mark.system
@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    """It ends well, shows every stage, and leaves a version as good as we promise."""
    command = [str(Path(sys.executable).with_name("slimbayes")), "demo", "--exit", "--port", "0", "--store", "store"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    for shown in (
        "training: done",
        "fine-tuning p95: done",
        "Published digits",
        "noise-0.png",
        "▓▓",
        "nats",
        "from GET /models",
    ):
        assert shown in result.stdout
    store = Store.open(tmp_path / "store")
    manifest = store.verify("digits", store.aliases("digits")["production"])
    levels = {level.name: level for level in manifest.levels}
    assert list(levels) == ["dense", "p50", "p80", "p90", "p95"]
    table = result.stdout[result.stdout.index("from GET") :]
    for level in levels.values():
        row = next(line for line in table.splitlines() if re.match(rf"│ {level.name}\b", line))
        assert f"{level.metrics.accuracy:.2%}" in row
        assert 0 < float(row.rstrip("│ ").split()[-1]) < 1000
    dense = levels["dense"].metrics
    assert dense.accuracy >= 0.97
    assert levels["p80"].metrics.accuracy >= dense.accuracy - 0.015  # one image of the test split is 0.28 points
    assert levels["p90"].multiply_adds * 5 <= levels["dense"].multiply_adds
    assert all(sum(level.metrics.ood_auroc[name] for level in levels.values()) / 5 > 0.5 for name in ("noise", "crops"))
