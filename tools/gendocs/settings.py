"""Generate the settings reference of `slimbayes serve` from `Settings`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from service.cli.serve import BASIC, choices, shown_default
from service.settings import Settings
from tools.gendocs.markdown import NOTICE, REFERENCE, code, table

PATH = REFERENCE / "settings.md"
INTRODUCTION = """# Settings

Each setting of `slimbayes serve` is a command-line flag and an environment variable; the flag takes precedence.
Settings are read once, at start. An unknown `SLIMBAYES_…` variable, a value out of range or contradicting settings
stop the start with a message. [Operations](../guides/operations.md) explains which to change when.
"""


def generate() -> tuple[Path, str]:
    """Return the path and content of the settings reference."""
    advanced = [name for name in Settings.model_fields if name not in BASIC]
    parts = [INTRODUCTION, NOTICE, "## Basic\n", _table(BASIC), "## Advanced\n", _table(advanced)]
    return PATH, "\n".join(parts)


def _table(names: Iterable[str]) -> str:
    rows = []
    for name in names:
        field = Settings.model_fields[name]
        value = "" if field.annotation is bool else code(choices(field.annotation))
        flag = code(f"--{name.replace('_', '-')}")
        variable = code(f"SLIMBAYES_{name.upper()}")
        rows.append((flag, variable, value, code(shown_default(field.default)), field.description or ""))
    return table(("flag", "variable", "value", "default", "meaning"), rows)
