"""`slimbayes score`: predict many images and write Parquet files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model_store.cli.options import ReadOption, TrustedOption, key_files, trusted_keys
from model_store.errors import StoreError
from model_store.manifest import DEFAULT_ALPHA, Manifest
from model_store.storage.location import default_location
from model_store.store import Store
from model_store.text import printable, written_name
from service.cli.main import reporting
from service.errors import NotFoundError
from service.inference.decision import conformal_quantile
from service.pipeline.parameters import parse_samples
from service.resources import usable_cores
from service.settings import MAX_PIXELS, MAX_SAMPLES, PRECISION, TOLERANCE, Precision

if TYPE_CHECKING:
    from service.scoring.config import ScoringPlan
    from service.scoring.inventory import Inventory
    from service.scoring.pipeline import ReportProgress, Task
    from service.scoring.source import Shard

app = typer.Typer(add_completion=False)
# Exit status if some images have an error in their row.
IMAGE_ERRORS = 4
# Time between two lines of progress without a terminal.
PROGRESS_PERIOD_S = 10.0


@app.command("score")
def score(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="Pictures or Parquet: a file, a folder (recursively) or a URL.")
    ],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="Folder or URL to write Parquet files to.")],
    store: ReadOption = None,
    trusted: TrustedOption = None,
    model: Annotated[str | None, typer.Option(help="Model; optional if there is only one.")] = None,
    version: Annotated[str | None, typer.Option(help="Version or alias; by default production, else newest.")] = None,
    level: Annotated[str | None, typer.Option(help="Pruning level; by default the version's default level.")] = None,
    samples: Annotated[str, typer.Option(help="Number of draws, or auto for early stopping.")] = "auto",
    alpha: Annotated[
        float | None,
        typer.Option(help=f"Error rate of the prediction sets.  [default: {DEFAULT_ALPHA}, where the level has it]"),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=1e-6, max=1, help="Standard error at which sampling may stop early.")
    ] = TOLERANCE,
    precision: Annotated[Precision, typer.Option(help="Compute the level as published, or in float32.")] = PRECISION,
    column: Annotated[
        str | None, typer.Option(help="Parquet column of images; by default `image`, or the only one that fits.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column with the names of images; by default they are FILE#ROW.")
    ] = None,
    max_pixels: Annotated[int, typer.Option(min=1, help="Maximum pixels of one image.")] = MAX_PIXELS,
    shard_size: Annotated[int, typer.Option(min=1, help="Images per output file.")] = 10_000,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Images decoded together.")] = 64,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Compute threads; by default as many as the CPU quota allows, one per Ray worker."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Run in this process, or on a Ray cluster (RAY_ADDRESS).")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Maximum Ray workers; by default as many as the cluster has CPUs for.")
    ] = None,
) -> None:
    """Score folders of pictures or Parquet, and write predictions with their uncertainty as Parquet.

    A run that is repeated continues with the files that are missing. The exit status is 4 if images could not be
    decoded; their rows have the reason.
    """
    from service.scoring.inventory import scan_input
    from service.scoring.pipeline import Task
    from service.scoring.sink import Output, write_order

    run: Callable[[Task, Sequence[Shard], ReportProgress], None] = Task.run
    if engine == "ray":  # a missing extra is reported before any work
        from service.scoring import ray as cluster

        run = partial(cluster.run, workers)
    with reporting(StoreError):
        keys = tuple(path.absolute() for path in key_files(trusted))
        opened = Store.open(store or default_location(), trusted_keys(trusted))
        name = opened.sole_model(model)
        manifest = opened.manifest(name, opened.resolve(name, version))
        found, inventory = scan_input(_absolute(source), manifest.input, column, id_column)
        if inventory.left_out:
            first = printable(inventory.left_out[0])
            typer.echo(
                f"left out, as no {inventory.kind}: {len(inventory.left_out):,} files, such as {first}", err=True
            )
        given = {"source": written_name(source), "column": column, "id_column": id_column, "max_pixels": max_pixels}
        rules = {"shard_size": shard_size, "alpha": alpha, "tolerance": tolerance, "precision": precision}
        plan = plan_for(manifest, inventory, level, samples, **given, **rules)
        target = Output(_absolute(output))
        continued, shards = target.begin(plan), inventory.shards(plan.shard_size)
        missing = [shards[number] for number in write_order(target.missing(plan), continued)]
        threads = threads or (1 if engine == "ray" else usable_cores())
        task = Task(plan, _absolute(opened.url), found, target.location, batch, threads, keys)
        if missing:
            with _progress(sum(shard.rows for shard in missing)) as report:
                run(task, missing, report)
        summary = target.finish(plan)
    typer.echo(f"{printable(output)}: {summary}")
    raise typer.Exit(IMAGE_ERRORS if summary.errors else 0)


def plan_for(manifest: Manifest, inventory: Inventory, level: str | None, samples: str, **others: Any) -> ScoringPlan:
    """Build the plan for a version; raise ServiceError for a level, number of draws or error rate that it lacks."""
    from service.scoring.config import ScoringPlan

    name = level or manifest.default_level
    found = manifest.level(name)
    if found is None:
        raise NotFoundError(f"no level {name!r}: there is {', '.join(each.name for each in manifest.levels)}")
    if conformal_quantile(others["alpha"], found) is not None and others["alpha"] is None:
        others["alpha"] = DEFAULT_ALPHA
    adaptive = samples == "auto"
    return ScoringPlan(
        engine=version_of("slimbayes"),
        kind=inventory.kind,
        images=inventory.rows,
        digest=inventory.digest,
        model=manifest.model,
        version=manifest.version,
        level=name,
        samples=min(found.monte_carlo.draws, MAX_SAMPLES) if adaptive else parse_samples(samples, MAX_SAMPLES),
        adaptive=adaptive,
        **others,
    )


def _absolute(location: str) -> str:
    """Make a path absolute for workers in other folders; leave a URL as it is."""
    return location if "://" in location else os.path.abspath(location)


@contextmanager
def _progress(images: int) -> Iterator[ReportProgress]:
    """Show progress: a bar on a terminal, else a line every PROGRESS_PERIOD_S seconds."""
    console = Console(stderr=True)
    columns = (TextColumn("Scoring"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    begun = printed = time.monotonic()
    done = rows = 0
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=images, rate="")

        def report(more: int, more_rows: int) -> None:
            nonlocal done, rows, printed
            done, rows, now = done + more, rows + more_rows, time.monotonic()
            rate = _rate(rows, now - begun)
            progress.update(bar, completed=done, rate=rate)
            if not console.is_terminal and now - printed >= PROGRESS_PERIOD_S:
                printed = now
                typer.echo(f"{done:,} of {images:,} images, {rate}", err=True)

        yield report
    if rows:
        seconds = time.monotonic() - begun
        typer.echo(f"{rows:,} images in {seconds:.1f} s: {_rate(rows, seconds)}", err=True)


def _rate(images: int, seconds: float) -> str:
    return f"{images / max(seconds, 1e-9):,.0f} images/s"
