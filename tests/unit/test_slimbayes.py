"""`import slimbayes` is light, and gives each package's own names on first use."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import slimbayes

HEAVY = ("torch", "onnx", "onnxruntime", "fastapi", "numpy", "httpx", "pydantic")
TRAINING = [
    name for name, module in slimbayes.MODULE_OF.items() if module.startswith(("slimbayes.", "training.", "pruning."))
]


def run(program: str) -> str:
    """Return the standard output of a program in a fresh process."""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_import_is_light() -> None:
    assert run(f"import slimbayes, sys; print([name for name in {HEAVY!r} if name in sys.modules])") == "[]"


@pytest.mark.parametrize("name", slimbayes.MODULE_OF)
def test_exports_are_the_packages_own(name: str) -> None:
    exported = getattr(slimbayes, name)
    module = slimbayes.MODULE_OF[name]
    assert f"{exported.__module__}.".startswith(f"{module}.")  # a package exports what its modules define
    assert exported is getattr(import_module(module), exported.__name__)


def test_type_checkers_see_the_same_names() -> None:
    """Names imported for type checkers, those in `__all__` and those in the table of modules are one list."""
    tree = ast.parse(Path(slimbayes.__file__).read_text())
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname or alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == slimbayes.MODULE_OF
    assert sorted(slimbayes.__all__) == sorted([*imported, "__version__"])
    assert set(slimbayes.__all__) <= set(dir(slimbayes))


def test_version() -> None:
    assert slimbayes.__version__ == version("slimbayes")


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Bayes'"):
        slimbayes.Bayes  # noqa: B018


def test_without_torch() -> None:
    """The serving half works; the training half names the extra."""
    program = "import sys; sys.modules['torch'] = None\nimport slimbayes\nprint(slimbayes.Store.__name__)\n"
    program += f"for name in {TRAINING!r}:\n"
    program += "    try: getattr(slimbayes, name)\n"
    program += "    except ImportError as error: print(name, error)\n"
    store, *refused = run(program).splitlines()
    assert store == "Store"
    assert "train slimbayes.train needs the train extra: pip install 'slimbayes[train]'" in refused
    assert all(line.endswith("needs the train extra: pip install 'slimbayes[train]'") for line in refused)
    # Modules without torch import as well: errors, recipes and names of levels.
    assert {"bayesianize", "Posterior", "IVON", "Run", "Pruner", "TrainedRun", "fit", "prune", "publish", "kl"} <= {
        line.partition(" ")[0] for line in refused
    }
