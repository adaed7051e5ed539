"""`slimbayes bench`: what answers cost on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="Measure what answers cost on this machine.", no_args_is_help=True, add_completion=False)


@app.callback()
def bench() -> None:
    """Measure what answers cost on this machine."""


@app.command("engine")
def engine(
    pictures: Annotated[
        list[Path] | None, typer.Argument(help="Pictures to answer; by default noise, which is harder than most.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(envvar="SLIMBAYES_STORE", help="Folder or URL of the store; by default `store`, else the zoo."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model; may be left out where there is one.")] = None,
    version: Annotated[str | None, typer.Option(help="Version or alias.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; by default what the CPU quota allows.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds, of five answers a way.")] = 40,
    tolerance: Annotated[float, typer.Option(min=1e-6, help="Standard error at which an answer settles.")] = 0.02,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Time every level's answers against one deterministic pass of the dense network."""
    import numpy as np

    from model_store.errors import StoreError
    from model_store.location import default_location
    from model_store.store import Store
    from service.bench import as_json, as_table, contest, entrants
    from service.cores import usable_cores
    from service.errors import ServiceError
    from service.picture import decode, ignore_metadata_warnings
    from service.settings import Settings

    ignore_metadata_warnings()
    try:
        opened = Store.open(store or default_location())
        name = opened.named(model)
        manifest = opened.manifest(name, opened.resolve(name, version))
        shape = manifest.input
        most = Settings.model_fields["max_pixels"].default
        if pictures:
            images = np.stack([decode(path.read_bytes(), shape, most, n) for n, path in enumerate(pictures)])
        else:
            size = (256, shape.height, shape.width, shape.channels)
            images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        with contest(
            manifest.training.architecture, entrants(opened, manifest), threads or usable_cores(), tolerance
        ) as made:
            rows = list(made.rows(images, rounds))
        if json_file is not None:
            json_file.write_text(json.dumps(as_json(rows), indent=2) + "\n")
    except OSError as error:
        typer.echo(f"Error: cannot read or write {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(1) from error
    except (StoreError, ServiceError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    Console().print(as_table(rows))
