"""`slimbayes serve`, `slimbayes predict` and `slimbayes demo`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.errors import AnswerError, ServiceError

serve_app = typer.Typer(add_completion=False)
predict_app = typer.Typer(add_completion=False)
demo_app = typer.Typer(add_completion=False)


@serve_app.command("serve")
def serve(
    store: Annotated[
        Path | None, typer.Option(help="Folder of the store to serve.  [default: store, else the zoo]")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 picks a free one.  [default: 8000]")] = None,
    default_model: Annotated[str | None, typer.Option(help="Model of a request that names none.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads; by default what the CPU quota allows.")] = None,
    max_samples: Annotated[int | None, typer.Option(help="Most draws of a request.  [default: 256]")] = None,
    max_images: Annotated[int | None, typer.Option(help="Most images of a request.  [default: 32]")] = None,
    max_pixels: Annotated[int | None, typer.Option(help="Most pixels of an image.  [default: 16777216]")] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help="Most bytes of a body.  [default: 33554432]")] = None,
    max_queue: Annotated[int | None, typer.Option(help="Most images x draws that wait.  [default: 65536]")] = None,
    max_wait_ms: Annotated[
        int | None, typer.Option(help="Longest that answers take under load.  [default: 1000]")
    ] = None,
    overload: Annotated[str | None, typer.Option(help="Under overload: shed, or degrade.  [default: shed]")] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Standard error at which an answer settles.  [default: 0.02]")
    ] = None,
    reload_seconds: Annotated[
        float | None, typer.Option(help="How often to look for new versions; 0 is never.  [default: 2]")
    ] = None,
    allow_empty: Annotated[
        bool | None, typer.Option("--allow-empty", help="Start though there is nothing to serve yet.")
    ] = None,
    drain_seconds: Annotated[
        float | None, typer.Option(help="Seconds to answer on after SIGTERM.  [default: 0]")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Arithmetic of levels: published, or float32.  [default: published]")
    ] = None,
    memory_mb: Annotated[int | None, typer.Option(help="MiB for networks; by default no limit.")] = None,
    log_format: Annotated[
        str | None, typer.Option(help="text or json.  [default: text on a terminal, else json]")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error; info has a line a request.  [default: info]")
    ] = None,
    traces: Annotated[
        str | None, typer.Option(help="URL of an OTLP collector for traces, over HTTP; needs the tracing extra.")
    ] = None,
) -> None:
    """Serve a store over HTTP. Each flag is also a variable: --max-images is SLIMBAYES_MAX_IMAGES."""
    # Before anything slow: the first process of a container ignores what it does not handle. The server hands the
    # signal on once it has finished.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    from model_store.store import ZOO
    from service import log
    from service.server import Server, bind
    from service.settings import Settings

    with _reporting():
        settings = Settings.read(
            store=store,
            host=host,
            port=port,
            default_model=default_model,
            threads=threads,
            max_samples=max_samples,
            max_images=max_images,
            max_pixels=max_pixels,
            max_body_bytes=max_body_bytes,
            max_queue=max_queue,
            max_wait_ms=max_wait_ms,
            overload=overload,
            tolerance=tolerance,
            reload_seconds=reload_seconds,
            allow_empty=allow_empty,
            drain_seconds=drain_seconds,
            precision=precision,
            memory_mb=memory_mb,
            log_format=log_format,
            log_level=log_level,
            traces=traces,
        )
        log.set_up(settings)
        server = Server(settings, bind(settings))
    if settings.store == ZOO:
        typer.echo("There is no store here: serving the zoo that comes with Slimbayes; --store names another")
    typer.echo(f"Serving {server.url} (POST /predict, GET /models, documentation at /docs); Ctrl-C ends it")
    server.run()


@predict_app.command("predict")
def predict(
    images: Annotated[list[Path], typer.Argument(help="Picture files.")],
    url: Annotated[str, typer.Option(envvar="SLIMBAYES_URL", help="Where the service is.")] = "http://127.0.0.1:8000",
    model: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    version: Annotated[str | None, typer.Option(help="Version or alias.")] = None,
    level: Annotated[str | None, typer.Option(help="Pruning level.")] = None,
    samples: Annotated[str | None, typer.Option(help="Number of draws, or auto.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Error rate of the prediction set.")] = None,
    deadline_ms: Annotated[float | None, typer.Option(help="Answer with the draws that there are by then.")] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="For --level auto: accuracy on the test set.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="For --level auto: time of inference.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Ask a running service about pictures."""
    from service.client import Client

    with _reporting():
        pictures = [(path.name, _read(path)) for path in images]
        with Client(url) as client:
            answer = client.predict(
                pictures,
                model=model,
                version=version,
                level=level,
                samples=samples,
                alpha=alpha,
                deadline_ms=deadline_ms,
                min_accuracy=min_accuracy,
                max_latency_ms=max_latency_ms,
            )
    if as_json:
        return typer.echo(answer.model_dump_json(indent=2))
    table = Table("image", "label", "probability", "draws", "set", "total", "aleatoric", "epistemic", "decision")
    for path, one in zip(images, answer.predictions, strict=True):
        entropies = (one.uncertainty.total, one.uncertainty.aleatoric, one.uncertainty.epistemic)
        decision = one.decision if one.reason is None else f"{one.decision} ({one.reason})"
        numbers = (f"{entropy:.3f}" for entropy in entropies)
        likely = f"{one.probability:.3f} ± {one.probabilities[0].std:.3f}"
        held, draws = escape(" ".join(one.prediction_set)), str(one.monte_carlo.draws)
        table.add_row(escape(path.name), escape(one.label), likely, draws, held, *numbers, decision)
    console = Console()
    console.print(table)
    return console.print(
        f"{answer.model} {answer.version} {answer.level}"
        f"{f' ({answer.level_reason})' if answer.level_reason else ''}, {answer.timing_ms.inference:.1f} ms"
    )


@demo_app.command("demo")
def demo(
    store: Annotated[Path, typer.Option(help="Folder to publish to.")] = Path("store"),
    port: Annotated[int, typer.Option(help="Port to serve on; 0 picks a free one.")] = 8000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    leave: Annotated[bool, typer.Option("--exit", help="End after the answers instead of serving on.")] = False,
) -> None:
    """Train, prune, export, publish, serve and ask: the whole line on real digits, in under three minutes."""
    from service.demo import Demo

    with _reporting():
        Demo(store, port, seed).run(serve_on=not leave)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AnswerError(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def _reporting() -> Iterator[None]:
    """Turn the service's errors into a message and exit status 1."""
    try:
        yield
    except ServiceError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
