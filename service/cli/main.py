"""`slimbayes`: the commands of all packages, found by their entry points and imported on use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from model_store.text import printable
from service.errors import ServiceError
from service.signals import Interruption, end_process, handled

GROUP = "slimbayes.commands"
# As shells say that Ctrl-C ended a command.
INTERRUPTED_STATUS = 130
# Modules of optional dependencies, and the extra that installs them.
EXTRAS = dict.fromkeys(("torch", "sklearn", "scipy", "safetensors", "matplotlib", "tensorboardX"), "train")
EXTRAS |= {"pyarrow": "score", "ray": "ray"}


class Commands(TyperGroup):
    """List the commands of all packages in the order of the pipeline, and load one by name."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [point.name for point in _points()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for point in _points():
            if point.name == cmd_name:
                command = typer.main.get_command(point.load())
                command.name = cmd_name
                return command
        return None

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a signal that it does not handle itself ends it with one line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(INTERRUPTED_STATUS) from interruption


def _points() -> list[EntryPoint]:
    order = ("demo", "train", "report", "prune", "models", "serve", "predict", "score", "recalibrate", "keys", "bench")
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


def echo_error(message: object) -> None:
    """Print one line on standard error, safe for a terminal whatever names are in it."""
    typer.echo(f"Error: {printable(str(message))}", err=True)


@contextmanager
def reporting(*others: type[Exception]) -> Iterator[None]:
    """Print the service's errors, and those of the given types, as one line on standard error; exit with status 1."""
    errors: tuple[type[Exception], ...] = (ServiceError, *others)
    try:
        yield
    except errors as error:
        message = str(error)
        if isinstance(error, OSError):
            message = f"cannot read or write {error.filename}: {error.strerror}"
        echo_error(message)
        raise typer.Exit(1) from error


def main() -> None:
    """Run the command line; report a missing extra or a full disk instead of a traceback.

    A command that a signal ends has the status that a shell expects of it: 130 after Ctrl-C, 143 after SIGTERM.
    """
    interruption = Interruption()
    try:
        with handled(interruption):
            app(prog_name="slimbayes")
    except SystemExit as end:
        if end.code == INTERRUPTED_STATUS and interruption.status is not None:
            end_process(interruption.status)
        raise
    except OSError as error:
        raise SystemExit(f"Error: {printable(error.strerror or str(error))}") from error
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise SystemExit(f"This command needs the {extra} extra: pip install 'slimbayes[{extra}]'") from error
