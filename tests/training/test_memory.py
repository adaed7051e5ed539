"""A process that holds its memory asks for none twice."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURE = """
import resource, sys, torch
from training.memory import hold_memory
if sys.argv[1] == "held":
    hold_memory()
torch.ones(20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(20_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted on Linux")
def test_freed_memory_is_taken_again_without_page_faults() -> None:
    """80 MB are some 20,000 pages."""
    faults = {}
    for how in ("held", "not held"):
        done = subprocess.run([sys.executable, "-c", MEASURE, how], capture_output=True, text=True, check=True)
        faults[how] = int(done.stdout)
    assert faults["held"] < 2_000
    assert faults["not held"] > 5 * faults["held"]
