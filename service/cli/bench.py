"""`slimbayes bench`: time predictions against one deterministic pass of the dense network, a point estimate's cost.

Every way to predict is timed in one process on the same threads, in turn, one image after the other. The ratios are the
result.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from model_store.cli.options import ReadOption
from model_store.errors import StoreError
from model_store.manifest import Calibration, Manifest, Rounding
from model_store.storage.location import default_location
from model_store.store import Store
from service.cli.main import reporting
from service.inference.artifact import Artifact, read_artifact
from service.inference.autotune import autotune
from service.inference.decision import ImageResult, Postprocessor
from service.inference.early_stopping import EarlyStopping
from service.inference.engine import Engine
from service.inference.graph import with_constants
from service.inference.quantization import quantize
from service.pipeline.postprocessing import ResponseBuilder
from service.pipeline.preprocessing import decode
from service.resources import usable_cores
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler
from service.settings import MAX_PIXELS, TOLERANCE

DENSE, PASS = "dense", "one pass"
# Pause between two ways, so that spinning threads of one do not slow the next.
PAUSE_S = 0.005
REPEATS = 5
Images = npt.NDArray[np.uint8]
# Predicts one image uint8 [1, H, W, C] and returns the number of draws.
Way = Callable[[Images], int]


@dataclass(frozen=True)
class Row:
    """Timings of one way at one level: medians over images, in milliseconds and in passes of the dense network."""

    arch: str
    level: str
    way: str
    draws: float
    ms: float
    mean_ms: float
    ratio_to_dense_pass: float


@dataclass
class Benchmark:
    """Ways to predict, by level and name; `rows` times them on some images."""

    arch: str
    ways: dict[tuple[str, str], Way] = field(default_factory=dict)

    def rows(self, images_NHWC: Images, rounds: int) -> Iterator[Row]:
        """Time every way; each round takes the next images, the same ones for every way."""
        seconds: dict[tuple[str, str], list[float]] = {name: [] for name in self.ways}
        draws: dict[tuple[str, str], list[int]] = {name: [] for name in self.ways}
        for number in range(rounds):
            for name, way in self.ways.items():
                time.sleep(PAUSE_S)
                for repeat in range(REPEATS):
                    index = (number * REPEATS + repeat) % len(images_NHWC)
                    image = images_NHWC[index : index + 1]
                    begun = time.perf_counter()
                    draws[name].append(way(image))
                    seconds[name].append(time.perf_counter() - begun)
        dense_pass_s = median(seconds[DENSE, PASS])
        for (level, way_name), each in seconds.items():
            yield Row(
                arch=self.arch,
                level=level,
                way=way_name,
                draws=mean(draws[level, way_name]),
                ms=1000 * median(each),
                mean_ms=1000 * mean(each),
                ratio_to_dense_pass=median(each) / dense_pass_s,
            )


@dataclass(frozen=True)
class BenchLevel:
    """Level to time: the bytes of its ONNX file, the number of its draws, and its calibration."""

    name: str
    data: bytes
    draws: int
    classes: tuple[str, ...]
    calibration: Calibration
    roundings: Mapping[str, Rounding]


def levels_of(store: Store, manifest: Manifest) -> list[BenchLevel]:
    """Return every level of a version."""
    return [
        BenchLevel(
            level.name,
            store.read_level(manifest, level.name),
            level.monte_carlo.draws,
            manifest.classes,
            level.calibration,
            level.roundings,
        )
        for level in manifest.levels
    ]


@contextmanager
def benchmark(arch: str, levels: Sequence[BenchLevel], threads: int, tolerance: float) -> Iterator[Benchmark]:
    """Prepare the ways that need only the files: passes, draws inside the graph, and the service's own, on `threads`.

    The first level must be the dense one.
    """
    scheduler, builders = Scheduler(threads), ThreadPoolExecutor(threads)
    made = Benchmark(arch)
    try:
        for level in levels:
            artifact = read_artifact(level.data, level.roundings)
            engine = autotune(artifact, artifact.draw_key, builders, threads)
            engine.prepare(level.draws)
            stopping = EarlyStopping.from_calibration(level.calibration, tolerance)
            made.ways[level.name, PASS] = _pass(replace(artifact, roundings={}), threads)
            if level.roundings:
                made.ways[level.name, f"{PASS} in eight bits"] = _pass(artifact, threads)
            made.ways[level.name, "draws in the graph"] = _in_graph(level.data, level.draws, threads)
            made.ways[level.name, "ours, fixed"] = partial(_ask, scheduler, engine, level, None)
            made.ways[level.name, "ours, adaptive"] = partial(_ask, scheduler, engine, level, stopping)
        yield made
    finally:
        scheduler.close()
        builders.shutdown()


def _ask(
    scheduler: Scheduler, engine: Engine, level: BenchLevel, stopping: EarlyStopping | None, image_1HWC: Images
) -> int:
    builder = ResponseBuilder(level.classes, level.calibration, quantile=0.5, top_k=10)
    postprocess = Postprocessor(level.calibration, builder.render, stopping)
    job = Job(engine, image_1HWC, level.draws, postprocess, stopping)
    scheduler.submit(job)
    results: list[ImageResult] = job.future.result()
    return results[0].draws


def _pass(artifact: Artifact, threads: int) -> Way:
    made = quantize(artifact)
    means = made.constants({weight.name: weight.mean for weight in artifact.weights})
    network = _runtime(with_constants(made.graph, means).SerializeToString(), threads)

    def run(image_1HWC: Images) -> int:
        network.run(None, {"images": image_1HWC})
        return 1

    return run


def _in_graph(data: bytes, draws: int, threads: int) -> Way:
    network = _runtime(data, threads)

    def run(image_1HWC: Images) -> int:
        np.stack([network.run(None, {"images": image_1HWC})[0] for _ in range(draws)])
        return draws

    return run


def _runtime(data: bytes, threads: int) -> Any:
    """Open ONNX Runtime with its defaults, except for the number of threads."""
    import onnxruntime  # after `service.inference.session`, which sets its environment

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Return rows as a JSON document."""
    return {"rows": [asdict(row) for row in rows]}


def as_table(rows: Sequence[Row]) -> Table:
    """Return rows as a table for a terminal."""
    table = Table("level", "way", *("draws", "ms", "mean ms", "dense passes"))
    for row in rows:
        numbers = (f"{row.draws:.1f}", f"{row.ms:.3f}", f"{row.mean_ms:.3f}", f"{row.ratio_to_dense_pass:.2f}")
        table.add_row(row.level, row.way, *numbers)
    return table


app = typer.Typer(help="Measure the cost of predictions on this machine.", no_args_is_help=True, add_completion=False)


@app.callback()
def bench() -> None:
    """Measure the cost of predictions on this machine."""


@app.command("engine")
def engine(
    pictures: Annotated[
        list[Path] | None, typer.Argument(help="Pictures to predict; by default noise, which is harder than most.")
    ] = None,
    store: ReadOption = None,
    model: Annotated[str | None, typer.Option(help="Model; optional if there is only one.")] = None,
    version: Annotated[str | None, typer.Option(help="Version or alias.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Compute threads; by default as many as the CPU quota allows.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds, of five predictions a way.")] = 40,
    tolerance: Annotated[
        float, typer.Option(min=1e-6, help="Standard error at which sampling may stop early.")
    ] = TOLERANCE,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write the figures to, as JSON.")] = None,
) -> None:
    """Time every level's predictions against one deterministic pass of the dense network."""
    with reporting(StoreError, OSError):
        opened = Store.open(store or default_location())
        name = opened.sole_model(model)
        manifest = opened.manifest(name, opened.resolve(name, version))
        shape = manifest.input
        if pictures:
            images = np.stack([decode(path.read_bytes(), shape, MAX_PIXELS, n) for n, path in enumerate(pictures)])
        else:
            size = (256, shape.height, shape.width, shape.channels)
            images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        levels = levels_of(opened, manifest)
        with benchmark(manifest.training.architecture, levels, threads or usable_cores(), tolerance) as made:
            rows = list(made.rows(images, rounds))
        if json_file is not None:
            json_file.write_text(json.dumps(as_json(rows), indent=2) + "\n")
    Console().print(as_table(rows))
