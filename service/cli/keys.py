"""`slimbayes keys`: make API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.main import reporting
from service.http.api_keys import Key

app = typer.Typer(help="Make API keys for a service.", no_args_is_help=True, add_completion=False)


@app.callback()
def keys() -> None:
    """Make API keys for a service."""


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Owner of the key; the service logs this name.")],
    admin: Annotated[bool, typer.Option("--admin", help="Allow promoting versions and (un)loading models.")] = False,
) -> None:
    """Make a key: print it once to standard error, and its line for --keys-file to standard output.

    For example, `slimbayes keys new ann >> keys` adds a key to the file `keys`.
    """
    with reporting(ValueError):
        key, line = Key.make(name, "admin" if admin else "user")
    typer.echo(f"The key of {name}, shown only once: {key}", err=True)
    typer.echo(str(line))
