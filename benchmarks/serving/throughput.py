"""Measure the service over HTTP: overhead over the engine alone, mixed load, version changes and shutdown.

    python -m benchmarks.serving.throughput --data-dir data --json docs/results/http.json

Runs real services in processes of their own, on test images. Needs `wrk`. The service shares its processors with the
load generator, whose share of them is in the table. `--parts` measures some parts again and keeps the rest of the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.serving.http_changes import publish, sigterm
from benchmarks.serving.http_mixed_load import mixed_load
from benchmarks.serving.http_overhead import overhead
from model_store.storage.location import default_location
from training.data import load_dataset

PARTS = "overhead,company,publish,sigterm"
NUM_IMAGES, NUM_CHECKED = 512, 8


def main(
    store: Annotated[Path | None, typer.Option(help="Folder of a store; by default the zoo.")] = None,
    data: Annotated[str, typer.Option(help="Data set of the test images.")] = "cifar10",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the data set.")] = None,
    seconds: Annotated[
        int, typer.Option(help="Duration of a load in seconds; mixed load lasts four times as long.")
    ] = 5,
    versions: Annotated[int, typer.Option(help="Versions to publish and promote.")] = 50,
    ends: Annotated[int, typer.Option(help="Number of times a service is stopped.")] = 20,
    parts: Annotated[str, typer.Option(help="Parts to measure.")] = PARTS,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Measure the parts, and print their tables."""
    root = store or Path(default_location())
    test = load_dataset(data, data_dir or Path("data"), seed=0, limit=None, image_size=None).test
    images_NHWC = np.ascontiguousarray(test.spread(NUM_IMAGES).pixels.numpy())
    figures: dict[str, Any] = json.loads(json_file.read_text()) if json_file and json_file.exists() else {}
    measures: dict[str, Callable[[], Any]] = {
        "overhead": lambda: list(overhead(root, images_NHWC, seconds)),
        "company": lambda: mixed_load(root, images_NHWC, 4 * seconds),
        "publish": lambda: publish(root, images_NHWC[:NUM_CHECKED], versions),
        "sigterm": lambda: sigterm(root, images_NHWC[:NUM_CHECKED], ends),
    }
    wanted = parts.split(",")
    if unknown := set(wanted) - set(measures):
        raise typer.BadParameter(f"parts are {', '.join(measures)}, got {', '.join(sorted(unknown))}")
    for part in wanted:
        typer.echo(f"measuring {part}", err=True)
        figures[part] = measures[part]()
    table = as_markdown(figures)
    print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")


def as_markdown(figures: Mapping[str, Any]) -> str:
    """Format one table per measured part."""
    tables = []
    if "overhead" in figures:
        tables.append(_table("engine alone and over HTTP", figures["overhead"]))
    if "company" in figures:
        measured = dict(figures["company"])
        rows = [{"small requests": name.replace("_", " "), **measured.pop(name)} for name in ("alone", "in_company")]
        tables += [_table("small requests", rows), _list("beside the largest", measured | measured.pop("large"))]
    tables += [_list(name, figures[name]) for name in ("publish", "sigterm") if name in figures]
    return "\n\n".join(tables)


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"**{title}**", "", "| " + " | ".join(key.replace("_", " ") for key in rows[0]) + " |"]
    lines.append("|" + "--:|" * len(rows[0]))
    return "\n".join([*lines, *("| " + " | ".join(map(_cell, row.values())) + " |" for row in rows)])


def _list(title: str, figures: Mapping[str, Any]) -> str:
    return _table(title, [figures])


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    typer.run(main)
