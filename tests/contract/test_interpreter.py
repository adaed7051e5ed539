"""Importing the packages, and making a service, changes no interpreter: a process is set up at its entry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Read once by a library when it is imported, so that the module that imports it first has to set it.
ENVIRONMENT = {
    "model_store": set[str](),
    "service": {"ORT_DISABLE_TELEMETRY"},
    "training": {"OMP_WAIT_POLICY"},
    "pruning": {"OMP_WAIT_POLICY", "ORT_DISABLE_TELEMETRY"},
}
# What libraries change on import is theirs: they are imported first.
LIBRARIES = (
    *("fastapi", "uvicorn", "obstore", "onnx", "PIL.Image", "pyarrow", "ray.data", "opentelemetry.sdk.trace"),
    *("torch", "matplotlib.figure", "sklearn.datasets", "scipy.stats", "tensorboardX"),
)
SEEN = """
def seen():
    from PIL import Image, ImageFile
    return {
        "switch interval": sys.getswitchinterval(),
        "collection": [gc.isenabled(), *gc.get_threshold()],
        "frozen": gc.get_freeze_count(),
        "pixels": Image.MAX_IMAGE_PIXELS,
        "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,
        "formats": sorted(Image.OPEN),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "logging": [logging.root.level, len(logging.root.handlers)],
        "recursion": sys.getrecursionlimit(),
        "hooks": [hook.__module__ for hook in (sys.excepthook, threading.excepthook, warnings.showwarning)],
    }
"""
PROGRAM = f"""
import gc, importlib, json, logging, os, pkgutil, signal, sys, threading, warnings
{SEEN}
for library in {LIBRARIES}:
    importlib.import_module(library)
found = {{}}
for package in {tuple(ENVIRONMENT)}:
    before, filters, environment = seen(), list(warnings.filters), dict(os.environ)
    below = pkgutil.walk_packages(importlib.import_module(package).__path__, package + ".")
    names = [each.name for each in below if not each.name.endswith("__main__")]
    for name in names:
        importlib.import_module(name)
    added = [str(each) for each in warnings.filters if each not in filters]
    changed = [name for name in os.environ if environment.get(name) != os.environ[name]]
    found[package] = [before, seen(), added, changed, len(names)]
print(json.dumps(found))
"""


def fresh(program: str, *arguments: str) -> Any:
    """What a program prints as JSON, in a process of its own that nothing is set up in."""
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def imported() -> Any:
    """What the interpreter was before and after every module of each package was imported."""
    return fresh(PROGRAM)


@pytest.mark.parametrize("package", ENVIRONMENT)
def test_import(imported: Any, package: str) -> None:
    """A library's user may import any module."""
    before, after, filters, changed, count = imported[package]
    assert after == before
    assert filters == []
    assert set(changed) <= ENVIRONMENT[package]
    assert count > 20


SERVER = f"""
import gc, json, logging, signal, sys, tempfile, threading, warnings
from pathlib import Path
import fastapi, uvicorn, service.app
from service.cli.serve import build_server, prepare_process
from service.http.server import bind
from service.settings import Settings
{SEEN}
before, filters = seen(), list(warnings.filters)
import model_store
settings = Settings(store=Path(model_store.__file__).parent / "zoo", port=0, threads=1)
server = build_server(settings, bind(settings))
after, added = seen(), [str(each) for each in warnings.filters if each not in filters]
prepare_process()
prepared = seen()
print(json.dumps([before, after, added, prepared]))
"""


def test_a_server_is_made_without_a_change_and_run_with_one() -> None:
    """The process that serves has short turns of threads and nothing to collect, from its entry on."""
    before, after, added, prepared = fresh(SERVER)
    assert after == before
    assert added == []
    assert prepared["switch interval"] == pytest.approx(0.0005)
    assert prepared["frozen"] > 10_000
