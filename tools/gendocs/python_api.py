"""Generate the Python reference from the exports of `slimbayes` and their docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tools.gendocs.markdown import NOTICE, REFERENCE, code, one_line, table

PATH = REFERENCE / "python.md"
LINE_LENGTH = 100
# In the order in which a model passes through them.
PACKAGES = {
    "slimbayes": "The short way",
    "training": "Training",
    "pruning": "Pruning",
    "model_store": "Model store",
    "service": "Serving",
}
INTRODUCTION = """# Python

```python
import slimbayes as sb
```

`slimbayes` exports what programs need of the four packages, and imports each name on first use. The short way and names
from `training` and `pruning` need the `train` extra; `sb.load` and `sb.Client` do not. [The guide](../guides/python.md)
shows how they go together.
"""


def generate() -> tuple[Path, str]:
    """Return the path and content of the Python reference."""
    package = import_module("slimbayes")
    exports = {name: getattr(package, name) for name in package.__all__ if not name.startswith("__")}
    parts = [INTRODUCTION, NOTICE]
    for root, title in PACKAGES.items():
        own = {name: each for name, each in exports.items() if each.__module__.partition(".")[0] == root}
        parts += [f"## {title}\n", _summary(own)]
        for name, each in own.items():
            parts += _export(name, each)
    return PATH, "\n".join(parts)


def _summary(exports: dict[str, Any]) -> str:
    rows = [(f"[`sb.{name}`](#sb{name.lower()})", _first_line(each)) for name, each in exports.items()]
    return table(("name", "purpose"), rows)


def _export(name: str, exported: Any) -> Iterator[str]:
    yield f"### `sb.{name}`\n"
    yield f"```python\n{_signature(name, exported)}\n```\n"
    yield (inspect.getdoc(exported) or "") + "\n"
    members = [(code(f".{member}"), _first_line(each)) for member, each in _members(exported)]
    if members:
        yield table(("member", "purpose"), members)


def _signature(name: str, exported: Any) -> str:
    """Render the call on one line, or with one parameter a line if it is long."""
    if inspect.isclass(exported) and issubclass(exported, BaseException):
        return f"class {name}({exported.__bases__[0].__name__})"
    signature = inspect.signature(exported)
    parameters = list(_parameters(exported, signature))
    returned = "" if inspect.isclass(exported) else f" -> {_annotation(signature.return_annotation)}"
    one = f"{name}({', '.join(parameters)}){returned}"
    return one if len(one) <= LINE_LENGTH else f"{name}(\n    {(',' + chr(10) + '    ').join(parameters)},\n){returned}"


def _parameters(exported: Any, signature: inspect.Signature) -> Iterator[str]:
    # The fields of a pydantic model have constraints for annotations, which say little in a call.
    named_only = inspect.isclass(exported) and issubclass(exported, BaseModel)
    keyword_only = False
    for each in signature.parameters.values():
        if each.kind is each.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "*"
        prefix = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
        text = f"{prefix}{each.name}"
        if named_only or each.annotation is each.empty:
            yield text
        elif each.default is each.empty:
            yield f"{text}: {_annotation(each.annotation)}"
        else:
            yield f"{text}: {_annotation(each.annotation)} = {_default(each.default)}"


def _annotation(annotation: Any) -> str:
    return annotation.strip("'\"") if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(default: Any) -> str:
    """Render a default; a function by its name, since its representation has an address."""
    return default.__name__ if inspect.isfunction(default) else repr(default)


def _members(exported: Any) -> Iterator[tuple[str, Any]]:
    """Yield the documented public methods and properties of a class, in the order of its source."""
    if not inspect.isclass(exported):
        return
    for name, each in vars(exported).items():
        function = getattr(each, "__func__", each)
        documented = inspect.isfunction(function) or isinstance(each, property)
        if documented and not name.startswith("_") and inspect.getdoc(function):
            yield name, function


def _first_line(exported: Any) -> str:
    return one_line((inspect.getdoc(exported) or "").partition("\n\n")[0])
