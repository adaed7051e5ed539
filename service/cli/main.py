"""`slimbayes`: the commands that each package brings, found by their entry points and imported when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from service.errors import ServiceError

GROUP = "slimbayes.commands"
# Modules that only an extra brings, and which.
EXTRAS = dict.fromkeys(("torch", "sklearn", "scipy", "safetensors", "matplotlib", "tensorboardX"), "train")
EXTRAS |= {"pyarrow": "score", "ray": "ray"}


class Commands(TyperGroup):
    """The commands of all packages, in the order of the line."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [point.name for point in _points()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for point in _points():
            if point.name == cmd_name:
                command = typer.main.get_command(point.load())
                command.name = cmd_name
                return command
        return None


def _points() -> list[EntryPoint]:
    order = ("demo", "train", "report", "prune", "models", "serve", "predict", "score", "keys", "bench")
    found = {point.name: point for point in entry_points(group=GROUP)}
    return [found[name] for name in order if name in found] + [found[n] for n in sorted(found.keys() - set(order))]


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    help="Make an image classifier Bayesian, prune it, and serve it so that every prediction says how sure it is.",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"slimbayes {version('slimbayes')}")
        raise typer.Exit


@app.callback()
def slimbayes(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""


@contextmanager
def reporting() -> Iterator[None]:
    """Turn the service's errors into a message and exit status 1."""
    try:
        yield
    except ServiceError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Run the command line; a missing extra is explained rather than traced."""
    try:
        app(prog_name="slimbayes")
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise SystemExit(f"This command needs the {extra} extra: pip install 'slimbayes[{extra}]'") from error
