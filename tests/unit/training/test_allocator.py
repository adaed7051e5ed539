"""A process that holds its memory asks the system for little of it twice."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURE = """
import resource, sys, torch
from training.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
from training.architectures import architecture
network = architecture("resnet20", 3, 10)
def step():
    network(torch.randn(64, 3, 32, 32)).sum().backward()
    network.zero_grad(set_to_none=True)
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
def test_steps_take_the_memory_of_the_one_before() -> None:
    faults = {}
    for how in ("kept", "not kept"):
        done = subprocess.run([sys.executable, "-c", MEASURE, how], capture_output=True, text=True, check=True)
        faults[how] = int(done.stdout)
    assert faults["kept"] < 0.3 * faults["not kept"], faults
