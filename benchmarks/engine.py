"""What a full answer costs, in deterministic passes of the dense network: the price of a point estimate.

    python -m benchmarks.engine --store store --model digits --json docs/results/engine.json

Everything is timed in one process on the same threads, in turn, one image at a time; figures are medians, and what
counts are the ratios. `--quick` takes fewer rounds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from model_store.manifest import Manifest
from model_store.store import Store
from service.artifact import Artifact, read_artifact
from service.bank import Bank, plain_network
from service.cores import usable_cores
from service.engine import Engine
from service.uncertainty import predictive


def main(
    store: Annotated[Path, typer.Option(help="Folder of a store.")] = Path("store"),
    model: Annotated[str, typer.Option(help="Model to time.")] = "digits",
    draws: Annotated[int, typer.Option(min=1, help="Draws of an answer.")] = 32,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds, more noise.")] = False,
) -> None:
    """Time each level's answers against one pass of the dense mean network, and print the table."""
    opened = Store.open(store)
    manifest = opened.manifest(model, opened.resolve(model))
    artifacts = {level.name: read_artifact(opened.read_level(manifest, level.name)) for level in manifest.levels}
    cores = usable_cores()
    with ThreadPoolExecutor(cores) as workers:
        ways = dict(ways_to_answer(manifest, artifacts, draws, workers, cores))
        milliseconds = time_in_turn(ways, rounds=100 if quick else 1000)
    price = milliseconds[("dense", "deterministic pass")]
    rows = [
        {
            "arch": manifest.training.architecture,
            "level": level,
            "way": way,
            "draws": draws if way == "bank" else 1,
            "ms": each,
            "ratio_to_dense_pass": each / price,
        }
        for (level, way), each in milliseconds.items()
    ]
    table = as_table(rows)
    print(table)
    if json_file is not None:
        json_file.write_text(json.dumps({"model": model, "threads": cores, "rows": rows}, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")


def ways_to_answer(
    manifest: Manifest, artifacts: dict[str, Artifact], draws: int, workers: ThreadPoolExecutor, cores: int
) -> list[tuple[tuple[str, str], Callable[[], Any]]]:
    """One pass of each level's mean network, and a full answer from its bank, by level and way."""
    shape = (1, manifest.input.height, manifest.input.width, manifest.input.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ways: list[tuple[tuple[str, str], Callable[[], Any]]] = []
    for level in manifest.levels:
        artifact = artifacts[level.name]
        mean = plain_network(artifact.graph, {weight.name: weight.mean for weight in artifact.weights})
        engine = Engine(Bank(artifact, level.sha256), workers, cores)
        engine.prepare(draws)
        temperature = level.calibration.temperature

        def single(network: Any = mean) -> Any:
            return network.run(["logits"], {"images": images})

        def full(engine: Engine = engine, temperature: float = temperature) -> Any:
            return predictive(engine.draws(images, draws), temperature)

        ways += [((level.name, "deterministic pass"), single), ((level.name, "bank"), full)]
    return ways


def time_in_turn(ways: dict[tuple[str, str], Callable[[], Any]], rounds: int) -> dict[tuple[str, str], float]:
    """Median milliseconds of each, one after the other in each round, so that noise falls on all alike."""
    seconds: dict[tuple[str, str], list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begun)
    return {name: 1000 * median(each) for name, each in seconds.items()}


def as_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| level | way | draws | ms | dense passes |", "|---|---|--:|--:|--:|"]
    lines += [
        f"| {row['level']} | {row['way']} | {row['draws']} | {row['ms']:.3f} | {row['ratio_to_dense_pass']:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
