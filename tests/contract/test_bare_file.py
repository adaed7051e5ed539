"""A level's file in plain ONNX Runtime: sessions repeat the same draws, unless seeded as README and model card say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.reports.card import model_card
from model_store.storage.location import ZOO
from model_store.store import Store
from tests.support.project import PROJECT

MODEL = "cifar10-resnet20"
# Seeds are the same for the whole process, so that it is one of its own. ONNX Runtime warns of nothing that matters.
SESSIONS = """
import sys
import numpy as np
import onnxruntime as runtime

options = runtime.SessionOptions()
options.log_severity_level = 3
images = np.full((1, 32, 32, 3), 100, np.uint8)

def draws():
    session = runtime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"images": images})[0] for _ in range(3)])

def seeded(lines):
    exec(lines)
    return draws()

unseeded, again = draws(), draws()
assert (unseeded == again).all(), "two sessions"
assert (unseeded[0] != unseeded[1]).any(), "two runs"
lines = sys.argv[2]
mine, same, other = seeded(lines), seeded(lines), seeded(lines.replace("7", "1234"))
assert (mine == same).all(), "one seed"
assert (mine != unseeded).any() and (mine != other).any(), "two seeds"
print(mine.tobytes().hex())
"""


def card() -> str:
    store = Store.open(ZOO)
    return model_card(store.manifest(MODEL, store.resolve(MODEL)))


def lines_of(text: str) -> str:
    """The two lines of Python in a document."""
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in block.splitlines() if line]) == 2
    return block


@pytest.mark.parametrize("source", ["README", "card"])
def test_sessions_of_the_bare_file_repeat_draws_unless_seeded_as_documented(source: str) -> None:
    text = card() if source == "card" else (PROJECT / "README.md").read_text()
    assert "All sessions of a process repeat the same draws" in " ".join(text.split())
    (file,) = Path(ZOO).glob(f"{MODEL}/*/dense/model.onnx")
    command = [sys.executable, "-c", SESSIONS, str(file), lines_of(text)]
    runs = [subprocess.run(command, capture_output=True, text=True, timeout=300) for _ in range(2)]
    assert all(run.returncode == 0 for run in runs), runs[0].stderr
    assert runs[0].stdout == runs[1].stdout  # a seed means the same in every process
