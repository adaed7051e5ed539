"""The tests of units mirror the modules, and no test imports a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import PROJECT

UNIT = PROJECT / "tests" / "unit"
PACKAGES = ("slimbayes", "service", "model_store", "pruning", "training")
# A shorter module may be tested by those who use it.
LINES = 60
# What has no file of its own under `unit`, and where it is tested.
ELSEWHERE = {
    "model_store.cli.options": "unit/model_store/cli/test_main.py",
    "model_store.onnx_file.reader": "security/test_hostile.py",
    "model_store.onnx_file.schema": "security/test_hostile.py",
    "model_store.onnx_file.tensors": "security/test_hostile.py",
    "model_store.publishing": "contract/store/test_publication.py",
    "model_store.storage.oci.client": "integration/storage/test_registry.py",
    "model_store.storage.oci.repository": "integration/storage/test_registry.py",
    "model_store.storage.oci.session": "integration/storage/test_registry_session.py",
    "pruning.cost.budget": "unit/pruning/test_granularity.py",
    "pruning.study.plots": "unit/pruning/study/test_tables.py",
    "service.api.dependencies": "unit/service/http/test_auth.py",
    "service.api.state": "integration/test_server.py",
    "service.cli.demo": "e2e/test_demo.py",
    "service.http.draining": "integration/test_draining.py",
    "service.http.connection.protocol": "integration/test_protocol.py",
    "service.http.server": "integration/test_server.py",
    "service.inference.member_networks": "contract/test_mixture.py",
    "service.pipeline.context": "unit/service/observability/test_prometheus.py",
    "service.pipeline.execution": "integration/test_server.py",
    "service.scoring.ray": "integration/scoring/test_ray.py",
    "service.signals": "integration/test_endings.py",
    "training.distributed.gradient_sync": "integration/test_distributed.py",
    "training.trainer.recorder": "unit/training/trainer/test_train.py",
}


def modules() -> dict[str, Path]:
    """All modules of the packages by their dotted names, packages by their own."""
    files = (path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))
    return {".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def mirrored() -> dict[str, Path]:
    """Files of tests under `unit`, by the modules that their names are of."""
    found = {}
    for path in UNIT.rglob("test_*.py"):
        folder = path.relative_to(UNIT).parent
        found[".".join((*folder.parts, path.stem.removeprefix("test_")))] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Dotted names of what a file imports, `from` what is before the last dot."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def has_logic(path: Path) -> bool:
    """Whether a module computes anything: not one of constants, types and protocols alone."""
    functions = (
        n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return any(not isinstance(statement, ast.Expr) for function in functions for statement in function.body)


def test_every_file_mirrors_a_module() -> None:
    assert sorted(mirrored().keys() - modules().keys()) == []


def test_every_module_has_its_tests() -> None:
    """In the file that mirrors it, else in that of its package."""
    tested = mirrored().keys() | ELSEWHERE.keys()
    untested = {
        name: len(path.read_text().splitlines())
        for name, path in modules().items()
        if name not in tested and name.rpartition(".")[0] not in tested and has_logic(path)
    }
    assert {name: lines for name, lines in untested.items() if lines >= LINES} == {}


@pytest.mark.parametrize("module", ELSEWHERE)
def test_what_is_tested_elsewhere_is_there(module: str) -> None:
    """And has no file under `unit` too."""
    assert module in modules()
    assert module not in mirrored()
    assert (PROJECT / "tests" / ELSEWHERE[module]).exists()


def test_no_test_imports_a_test() -> None:
    """Nor the fixtures of a folder: what several share is in tests/support."""
    importing = {
        (str(path.relative_to(PROJECT)), name)
        for path in (PROJECT / "tests").rglob("*.py")
        for name in imports(path)
        if name.startswith("tests.") and any(part == "conftest" or part.startswith("test_") for part in name.split("."))
    }
    assert importing == set()
