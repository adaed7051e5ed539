"""A process that holds its memory asks the system for little of it twice."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURE = """
import resource, torch
from training.allocator import keep_freed_memory
from training.architectures import architecture
network = architecture("resnet20", 3, 10)
def step():
    network(torch.randn(64, 3, 32, 32)).sum().backward()
    network.zero_grad(set_to_none=True)
def faults():
    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
not_kept = faults()
keep_freed_memory()
print(faults(), not_kept)
"""


@pytest.mark.slow
def test_steps_take_the_memory_of_the_one_before() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    kept, not_kept = map(int, done.stdout.split())
    assert kept < 0.3 * not_kept, done.stdout
