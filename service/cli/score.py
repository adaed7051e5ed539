"""`slimbayes score`: many images to predictions, as files of Parquet."""

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
from model_store.cli.options import reporting as reporting_store
from model_store.manifest import Manifest
from model_store.storage.location import default_location
from model_store.store import Store
from service.cli.main import reporting
from service.errors import NotFoundError
from service.pipeline.planning import fixed_samples, quantile
from service.resources import usable_cores
from service.settings import Precision, Settings

if TYPE_CHECKING:
    from service.scoring.config import ScoringPlan
    from service.scoring.inventory import Inventory
    from service.scoring.pipeline import Progress as Told
    from service.scoring.pipeline import Task
    from service.scoring.sink import Output
    from service.scoring.source import Shard

app = typer.Typer(add_completion=False)
DEFAULTS = Settings.model_fields
# Some images have an error in their row; everything else is done.
ERRORS = 4
# Seconds between two lines where nobody looks at a terminal.
PERIOD = 10.0


@app.command("score")
def score(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="Pictures or Parquet: a file, a folder with all below, or a URL.")
    ],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="Folder or URL to write Parquet to.")],
    store: ReadOption = None,
    trusted: TrustedOption = None,
    model: Annotated[str | None, typer.Option(help="Model; may be left out where there is one.")] = None,
    version: Annotated[str | None, typer.Option(help="Version or alias; by default production, else newest.")] = None,
    level: Annotated[str | None, typer.Option(help="Pruning level; by default the version's.")] = None,
    samples: Annotated[str, typer.Option(help="Draws: a number, or auto: until an answer is settled.")] = "auto",
    alpha: Annotated[float, typer.Option(help="Error rate of the prediction sets.")] = 0.1,
    tolerance: Annotated[
        float, typer.Option(min=1e-6, max=1, help="Standard error at which an answer settles.")
    ] = DEFAULTS["tolerance"].default,
    precision: Annotated[
        Precision, typer.Option(help="Compute the level as it was published, or in float32.")
    ] = DEFAULTS["precision"].default,
    column: Annotated[
        str | None, typer.Option(help="Column with the images of Parquet; by default `image`, or the only one.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column that names images; by default FILE#ROW does.")
    ] = None,
    max_pixels: Annotated[int, typer.Option(min=1, help="Most pixels of one image that are decoded.")] = DEFAULTS[
        "max_pixels"
    ].default,
    shard_size: Annotated[int, typer.Option(min=1, help="Images in a file of the output.")] = 10_000,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Images that are decoded together.")] = 64,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads to compute on; by default what the CPU quota allows, one a Ray worker."),
    ] = None,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Here, or on a Ray cluster (RAY_ADDRESS).")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Most Ray workers; by default what the cluster has processors for.")
    ] = None,
) -> None:
    """Score folders of pictures or Parquet, and write predictions with their uncertainty as Parquet.

    What was written before is kept: run again, it goes on. The exit status is 4 where images could not be decoded;
    their rows say why.
    """
    from service.pipeline.preprocessing import ignore_metadata_warnings
    from service.scoring.inventory import scan_input
    from service.scoring.pipeline import Task
    from service.scoring.sink import Output

    ignore_metadata_warnings()
    run = _on_ray(workers) if engine == "ray" else Task.run
    with reporting(), reporting_store():
        keys = tuple(path.absolute() for path in key_files(trusted))
        opened = Store.open(store or default_location(), trusted_keys(trusted))
        name = opened.sole_model(model)
        manifest = opened.manifest(name, opened.resolve(name, version))
        found, inventory = scan_input(_absolute(source), manifest.input, column, id_column)
        plan = plan_for(
            manifest,
            inventory,
            level,
            samples,
            source=source,
            column=column,
            id_column=id_column,
            shard_size=shard_size,
            alpha=alpha,
            tolerance=tolerance,
            precision=precision,
            max_pixels=max_pixels,
        )
        target = Output(_absolute(output))
        missing = _missing(target, plan, inventory)
        threads = threads or (1 if engine == "ray" else usable_cores())
        task = Task(plan, _absolute(opened.url), found, target.location, batch, threads, keys)
        if missing:
            with _shown(sum(shard.rows for shard in missing)) as told:
                run(task, missing, told)
        summary = target.finish(plan)
    typer.echo(f"{output}: {summary}")
    raise typer.Exit(ERRORS if summary.errors else 0)


def plan_for(manifest: Manifest, inventory: Inventory, level: str | None, samples: str, **others: Any) -> ScoringPlan:
    """The plan for a version; raise ServiceError for a level, a number of draws or an error rate that it has not."""
    from service.scoring.config import ScoringPlan

    name = level or manifest.default_level
    found = manifest.level(name)
    if found is None:
        raise NotFoundError(f"no level {name!r}: there is {', '.join(each.name for each in manifest.levels)}")
    quantile(others["alpha"], found)
    adaptive = samples == "auto"
    most: int = DEFAULTS["max_samples"].default
    return ScoringPlan(
        engine=version_of("slimbayes"),
        kind=inventory.kind,
        images=inventory.rows,
        digest=inventory.digest,
        model=manifest.model,
        version=manifest.version,
        level=name,
        samples=min(found.monte_carlo.draws, most) if adaptive else fixed_samples(samples, most),
        adaptive=adaptive,
        **others,
    )


def _missing(output: Output, plan: ScoringPlan, inventory: Inventory) -> list[Shard]:
    """What is not written yet, in the order to write it, once the output has the plan."""
    from service.scoring.sink import in_turn

    continued, shards = output.begin(plan), inventory.shards(plan.shard_size)
    return [shards[number] for number in in_turn(output.missing(plan), continued)]


def _on_ray(workers: int | None) -> Callable[[Task, Sequence[Shard], Told], None]:
    """What has shards scored by so many workers; what is missing for it is said before anything is done."""
    from service.scoring import ray as cluster

    return partial(cluster.run, workers)


def _absolute(location: str) -> str:
    """A path that means the same to a worker elsewhere; a URL is one already."""
    return location if "://" in location else os.path.abspath(location)


@contextmanager
def _shown(images: int) -> Iterator[Told]:
    """Show how far it is: a bar on a terminal, else a line now and then."""
    console = Console(stderr=True)
    columns = (TextColumn("Scoring"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    begun = said = time.monotonic()
    done = rows = 0
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=images, rate="")

        def tell(more: int, more_rows: int) -> None:
            nonlocal done, rows, said
            done, rows, now = done + more, rows + more_rows, time.monotonic()
            rate = _rate(rows, now - begun)
            progress.update(bar, completed=done, rate=rate)
            if not console.is_terminal and now - said >= PERIOD:
                said = now
                typer.echo(f"{done:,} of {images:,} images, {rate}", err=True)

        yield tell
    if rows:
        seconds = time.monotonic() - begun
        typer.echo(f"{rows:,} images in {seconds:.1f} s: {_rate(rows, seconds)}", err=True)


def _rate(images: int, seconds: float) -> str:
    return f"{images / max(seconds, 1e-9):,.0f} images/s"
