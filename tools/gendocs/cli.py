"""Generate the command-line reference from the Typer applications of all entry points."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer

from service.cli.serve import choices
from service.settings import Settings
from tools.gendocs.markdown import NOTICE, PROJECT, REFERENCE, code, one_line, table

PATH = REFERENCE / "cli.md"
GROUP = "slimbayes.commands"
INTRODUCTION = """# Command line

Every command has `--help`. `slimbayes --version` prints the version. Commands that train or prune need the `train`
extra, `slimbayes score` needs `score`.
"""
SETTINGS_ARE_OPTIONS = "Its options are the [settings](settings.md).\n"


def generate() -> tuple[Path, str]:
    """Return the path and content of the command-line reference."""
    return PATH, "\n".join([INTRODUCTION, NOTICE, *_commands()])


def _commands() -> Iterator[str]:
    # From the checkout's metadata, which an environment that was installed earlier may not have yet.
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    for name, target in project["entry-points"][GROUP].items():
        module, _, attribute = target.partition(":")
        command = typer.main.get_command(getattr(import_module(module), attribute))
        yield from _command(f"slimbayes {name}", command, "##")


def _command(path: str, command: Any, heading: str) -> Iterator[str]:
    """Describe a command, and below it its subcommands."""
    yield f"{heading} `{path}`\n"
    if command.help:
        yield cleandoc(command.help).replace("\f", "") + "\n"
    subcommands: dict[str, Any] = getattr(command, "commands", {})
    parameters = [each for each in command.params if not getattr(each, "hidden", False) and each.name != "help"]
    if not subcommands:
        yield f"```\n{_usage(path, parameters)}\n```\n"
    if {each.name for each in parameters} == set(Settings.model_fields):
        yield SETTINGS_ARE_OPTIONS
    elif parameters:
        yield table(("option", "value", "default", "meaning"), map(_row, parameters))
    for name, each in subcommands.items():
        yield from _command(f"{path} {name}", each, f"{heading}#")


def _usage(path: str, parameters: list[Any]) -> str:
    words = [path]
    if any(each.param_type_name == "option" for each in parameters):
        words.append("[OPTIONS]")
    for each in parameters:
        if each.param_type_name == "argument":
            name = each.metavar or each.name.upper()
            name += "..." if each.nargs == -1 else ""
            words.append(name if each.required else f"[{name}]")
    return " ".join(words)


def _row(parameter: Any) -> tuple[str, str, str, str]:
    if parameter.param_type_name == "argument":
        name, value = code(parameter.metavar or parameter.name.upper()), ""
    else:
        spellings = [*parameter.opts, *parameter.secondary_opts]
        name = ", ".join(map(code, spellings))
        value = "" if parameter.is_flag else code(_value(parameter))
    meaning = one_line(parameter.help or "")
    return name, value, code(_default(parameter)), f"{meaning} Required.".strip() if parameter.required else meaning


def _value(parameter: Any) -> str:
    """Render an option's value: its metavar, its choices, or its type and range."""
    if parameter.metavar:
        return str(parameter.metavar)
    value = choices(parameter.type_descriptor.annotation)
    lowest, highest = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if (lowest, highest) == (None, None):
        return value
    return f"{value[:-1]}, {'' if lowest is None else lowest}..{'' if highest is None else highest}>"


def _default(parameter: Any) -> str:
    default = parameter.default
    if default is None or callable(default) or isinstance(default, bool) or default == ():
        return ""
    if isinstance(default, list | tuple):
        return ",".join(map(str, default))
    return str(getattr(default, "value", default))
