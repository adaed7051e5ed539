"""`slimbayes serve`: serve a store; its flags are the settings, with names, help and defaults from `Settings`."""

from __future__ import annotations

import gc
import inspect
import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.markup import escape

from service.cli.main import reporting
from service.resources import bound_heap
from service.settings import Settings
from service.signals import end_process, handled, run_interruptibly

if TYPE_CHECKING:
    from service.http.server import Server

Command = Callable[..., None]
# Settings of most deployments; `--help` and the reference show them before the others.
BASIC = (
    *("store", "host", "port", "threads", "overload", "max_wait_ms"),
    *("keys_file", "rate_limit", "tls_cert", "tls_key"),
)
SWITCH_INTERVAL_S = 0.0005
serve_app = typer.Typer(add_completion=False)


def with_settings(command: Command) -> Command:
    """Give a command with `**flags` one option per setting; each flag is its text, or None if it was not given."""
    parameters = [_parameter(name, field) for name, field in Settings.model_fields.items()]
    # Typer reads these in place of the declared parameters.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind: Any = bool if field.annotation is bool else str
    default = shown_default(field.default)
    described = f"{field.description}  {escape(f'[default: {default}]')}" if default else field.description
    option = typer.Option(
        help=described,
        metavar="" if kind is bool else choices(field.annotation),
        rich_help_panel="Basic" if name in BASIC else "Advanced",
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def shown_default(value: object) -> str:
    """Format a default as a flag's value; empty for none and for switches."""
    if value is None or value is PydanticUndefined or isinstance(value, bool):
        return ""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def choices(annotation: Any) -> str:
    """Format the values of a setting: a type, texts separated by commas, or the choices."""
    if get_origin(annotation) is Annotated:
        return choices(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return f"<{'|'.join(get_args(annotation))}>"
    if get_origin(annotation) is tuple:
        return "<str>,…"
    parts = [part for part in get_args(annotation) if part is not NoneType]
    return choices(parts[0]) if parts else f"<{annotation.__name__.lower()}>"


@serve_app.command("serve")
@with_settings
def serve(**flags: Any) -> None:
    """Serve a store over HTTP. Each flag is also a variable: --max-images is SLIMBAYES_MAX_IMAGES."""
    # Before anything slow: the first process of a container ignores what it does not handle.
    with handled(lambda *_: end_process(0)):
        _serve(flags)
    end_process(0)


def _serve(flags: Mapping[str, Any]) -> None:
    from model_store.storage.location import ZOO
    from service.http.server import bind
    from service.observability.access_log import configure_logging

    open_standard_streams()
    with reporting():
        settings = Settings.read(**flags)
        configure_logging(settings)
        bound = bind(settings)
        server = run_interruptibly(lambda: build_server(settings, bound))
    with suppress(OSError):  # nobody has to read it
        if settings.store == str(ZOO):
            typer.echo("There is no store here: serving the zoo that comes with Slimbayes; --store names another")
        typer.echo(f"Serving {server.url} (POST /predict, GET /models, documentation at /docs); Ctrl-C ends it")
    prepare_process()
    server.run()


def open_standard_streams() -> None:
    """Open what the process was started without, so that no socket gets the number of standard error."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number


def build_server(settings: Settings, bound: socket.socket) -> Server:
    """Build the application and the server for it; raise StartupError if it could not serve."""
    from service.app import create_app
    from service.http.server import Server, check_certificate

    check_certificate(settings)
    app = create_app(settings)
    return Server(app, app.state.service.draining, settings, bound)


def prepare_process() -> None:
    """Set up the interpreter of a process that serves, once its application is built; never called by a library."""
    # The event loop must never wait long for a thread that computes in Python.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    bound_heap()
    # What exists now stays: a collection that traverses it would halt every thread for some 60 ms.
    gc.collect()
    gc.freeze()
