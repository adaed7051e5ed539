"""`slimbayes predict`: predict pictures with a running service."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from model_store.text import printable
from service.cli.bulk_predict import BulkPredictor, Outcome
from service.cli.files import batches, find
from service.cli.main import echo_error, reporting
from service.cli.report import Format, report
from service.client import AsyncClient, Parameter
from service.errors import ClientError

app = typer.Typer(add_completion=False)
FAILED, ABSTAINED = 1, 3


@app.command("predict")
def predict(
    images: Annotated[list[str], typer.Argument(help="Picture files, folders (recursively) or patterns.")],
    url: Annotated[str, typer.Option(envvar="SLIMBAYES_URL", help="URL of the service.")] = "http://127.0.0.1:8000",
    key: Annotated[str | None, typer.Option(envvar="SLIMBAYES_KEY", help="API key.", show_envvar=True)] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Trusted certificate authorities in PEM, for a private service.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    version: Annotated[str | None, typer.Option(help="Version or alias.")] = None,
    level: Annotated[str | None, typer.Option(help="Pruning level.")] = None,
    samples: Annotated[str | None, typer.Option(help="Number of draws, or auto for early stopping.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Error rate of the prediction set.")] = None,
    deadline_ms: Annotated[
        float | None, typer.Option(help="Milliseconds to answer in, with fewer draws if needed.")
    ] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="For --level auto: minimum test accuracy.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="For --level auto: maximum latency (ms).")] = None,
    kind: Annotated[Format, typer.Option("--format", help="Output format.")] = "table",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 3 if a prediction abstains.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Concurrent requests.")] = 4,
    batch: Annotated[int, typer.Option(min=1, max=256, help="Maximum images per request.")] = 16,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a busy service.")] = 30.0,
) -> None:
    """Predict pictures with a running service.

    A picture that fails is reported and does not stop the others; the exit status is then 1.
    """
    found = find(images)
    if found.left_out:
        first = printable(found.left_out[0])
        typer.echo(f"left out, as no pictures: {len(found.left_out):,} files, such as {first}", err=True)
    parameters: dict[str, Parameter] = {
        "model": model,
        "version": version,
        "level": level,
        "samples": samples,
        "alpha": alpha,
        "deadline_ms": deadline_ms,
        "min_accuracy": min_accuracy,
        "max_latency_ms": max_latency_ms,
    }
    with reporting():
        client = AsyncClient(url, key=key, patience=patience, ca_file=ca_file)
    outcomes, end = asyncio.run(_predict(client, found.pictures, parameters, concurrency, batch))
    if outcomes:
        report(outcomes, kind, sys.stdout)
    errors = found.errors + [ClientError(f"{each.path}: {each.error}") for each in outcomes if each.error]
    for error in errors + ([end] if end else []):
        echo_error(error)
    if errors or end:
        raise typer.Exit(FAILED)
    abstained = any(each.prediction and each.prediction.decision == "abstain" for each in outcomes)
    raise typer.Exit(ABSTAINED if strict and abstained else 0)


async def _predict(
    client: AsyncClient, paths: Sequence[Path], parameters: dict[str, Parameter], concurrency: int, batch: int
) -> tuple[list[Outcome], ClientError | None]:
    """Return the outcomes, and the error that ended the run early; show progress on a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("Predicting", total=len(paths))
        async with client:
            predictor = BulkPredictor(client, parameters, concurrency, lambda more: progress.advance(bar, more))
            return await predictor.run(batches(paths, batch))
