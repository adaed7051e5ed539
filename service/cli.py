"""`slimbayes serve` and `slimbayes demo`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from service.console import reporting
from service.flags import with_settings
from service.settings import Settings

serve_app = typer.Typer(add_completion=False)
demo_app = typer.Typer(add_completion=False)


@serve_app.command("serve")
@with_settings
def serve(**flags: Any) -> None:
    """Serve a store over HTTP. Each flag is also a variable: --max-images is SLIMBAYES_MAX_IMAGES."""
    # Before anything slow: the first process of a container ignores what it does not handle. The server hands the
    # signal on once it has finished.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    from model_store.location import ZOO
    from service import log
    from service.server import Server, bind

    with reporting():
        settings = Settings.read(**flags)
        log.set_up(settings)
        server = Server(settings, bind(settings))
    if settings.store == str(ZOO):
        typer.echo("There is no store here: serving the zoo that comes with Slimbayes; --store names another")
    typer.echo(f"Serving {server.url} (POST /predict, GET /models, documentation at /docs); Ctrl-C ends it")
    server.run()


@demo_app.command("demo")
def demo(
    store: Annotated[Path, typer.Option(help="Folder to publish to.")] = Path("store"),
    port: Annotated[int, typer.Option(help="Port to serve on; 0 picks a free one.")] = 8000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    leave: Annotated[bool, typer.Option("--exit", help="End after the answers instead of serving on.")] = False,
) -> None:
    """Train, prune, export, publish, serve and ask: the whole line on real digits, in under three minutes."""
    from service.demo import Demo

    with reporting():
        Demo(store, port, seed).run(serve_on=not leave)
