"""Share options, JSON output, confirmation and error reporting between the commands of `slimbayes models`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from model_store.errors import StoreError
from model_store.signing import TrustedKeys
from model_store.text import printable

StoreOption = Annotated[str, typer.Option("--store", envvar="SLIMBAYES_STORE", help="Folder or URL of the store.")]
ReadOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="SLIMBAYES_STORE",
        help="Folder or URL of the store, or `zoo`, which is shipped; by default `store` if there, else `zoo`.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AliasOption = Annotated[str, typer.Option(help="Alias to change.")]
ModelArgument = Annotated[str, typer.Argument(help="Name of the model.")]
VersionArgument = Annotated[
    str | None, typer.Argument(help="Version or alias; by default `production`, else the newest.", show_default=False)
]
SignKeyOption = Annotated[
    Path | None,
    typer.Option("--sign-key", help="Sign the version with this private key: ECDSA, in PEM.", show_default=False),
]
NewClassesOption = Annotated[
    bool, typer.Option("--new-classes", help="Publish although the model's newest version has other classes.")
]
TrustedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-key",
        envvar="SLIMBAYES_TRUSTED_KEYS",
        help="Public key in PEM; only versions signed with one of these are trusted. Repeatable.",
        show_default=False,
    ),
]
DEFAULT_STORE = "store"


def key_files(given: Iterable[str] | None) -> list[Path]:
    """Return the files of `--trusted-key`, each of which may be several between commas."""
    return [Path(part.strip()) for each in given or () for part in each.split(",") if part.strip()]


def trusted_keys(given: Iterable[str] | None) -> TrustedKeys | None:
    """Read the keys of `--trusted-key`; return None where there are none."""
    paths = key_files(given)
    return TrustedKeys.read(paths) if paths else None


def print_json(document: dict[str, Any]) -> None:
    """Print one document on standard output."""
    typer.echo(json.dumps(document, indent=2))


def print_result(as_json: bool, document: dict[str, Any], text: str) -> None:
    """Print what a command has done, as a JSON document or as text of one or more lines."""
    lines = "\n".join(map(printable, text.split("\n")))
    typer.echo(json.dumps(document, indent=2) if as_json else lines)


def names_table(last: str) -> Table:
    """Build a table of versions that wraps long names instead of cutting them."""
    return Table(Column("model", overflow="fold"), Column("version", no_wrap=True), Column(last, overflow="fold"))


def confirm(question: str, yes: bool) -> None:
    """Ask for confirmation unless `yes`; raise StoreError without a terminal, abort on refusal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise StoreError("cannot ask for confirmation without a terminal: pass --yes")
    typer.confirm(question, abort=True, err=True)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a status line on the terminal during a long operation."""
    with Console(stderr=True).status(what):
        yield


@contextmanager
def reporting() -> Iterator[None]:
    """Turn the store's errors into a message and exit status 1."""
    try:
        yield
    except StoreError as error:
        typer.echo(f"Error: {printable(error)}", err=True)
        raise typer.Exit(1) from error
