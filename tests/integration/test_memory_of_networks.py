"""Networks by measured size, over the bundled zoo: what is resident is what is told, and no more than is allowed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.waiting import HANG_S

SEQUENCE = ("dense", "p80", "p95", "dense", "p80")
ASKING = """
import json, sys, time
from pathlib import Path
import numpy as np
from service.errors import ParameterError
from service.repository.repository import ModelRepository
from service.settings import Settings

catalog = ModelRepository(Settings(store="zoo", memory_mb=int(sys.argv[1]), threads=2))
catalog.warm()
default = catalog.model(None).version(None).default
engine = default.prepared_engine(default.default_samples)
image_1HWC = np.zeros((1, 32, 32, 3), np.uint8)

def figures():
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    return {"resident": resident, "told": sum(level.nbytes for level in catalog.levels())}

for each in catalog.levels():  # what ONNX Runtime takes once for all
    with each.in_use(1):
        each.engine(1).draws(image_1HWC, 1)
found = [figures()]
for name in sys.argv[2:]:
    level = catalog.model(None).version(None).level(name)
    with level.in_use(256):
        try:
            asked = level.engine(256)
            asked.run(0, asked.shared(image_1HWC))
            del asked
            refusal = None
        except ParameterError as error:
            refusal = str(error)
    kept = default.prepared_engine(default.default_samples) is engine
    found.append(figures() | {"refusal": refusal, "default": kept})
print(json.dumps(found))
catalog.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit_mb", [736, 224])
def test_resident_memory_is_what_is_told_and_allowed(limit_mb: int) -> None:
    """After each request for many draws of another level; those of default requests stay built all the while."""
    command = [sys.executable, "-c", ASKING, str(limit_mb), *SEQUENCE]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=True)
    start, *asked = json.loads(result.stdout)
    baseline = start["resident"] - start["told"]
    assert len(asked) == len(SEQUENCE)
    for found in asked:
        networks = found["resident"] - baseline
        assert found["told"] == pytest.approx(networks, rel=0.1)
        assert networks <= 1.02 * limit_mb * 2**20
        assert found["default"]
    refused = [found["refusal"] for found in asked if found["refusal"]]
    assert bool(refused) == (limit_mb < 700)
    assert all("MiB for networks here: ask for at most" in refusal for refusal in refused)
