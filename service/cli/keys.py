"""`slimbayes keys`: keys for a service."""

from __future__ import annotations

from typing import Annotated

import typer

from service.http.api_keys import Key

app = typer.Typer(help="Make API keys for a service.", no_args_is_help=True, add_completion=False)


@app.callback()
def keys() -> None:
    """Make API keys for a service."""


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is; the service's logs have this name.")],
    admin: Annotated[bool, typer.Option("--admin", help="May also promote versions, load and unload models.")] = False,
) -> None:
    """Make a key: it goes to standard error, this once, and its line for the service's --keys-file to standard output.

    So `slimbayes keys new ann >> keys` adds one.
    """
    try:
        key, line = Key.make(name, "admin" if admin else "user")
    except ValueError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"The key of {name}, which is shown this once: {key}", err=True)
    typer.echo(str(line))
