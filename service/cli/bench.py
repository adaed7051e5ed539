"""What an answer costs beside one deterministic pass of the dense network, the price of a point estimate.

Every way is timed in one process on the same threads, in turn, one image after the other. What counts are the ratios.

`slimbayes bench`: what answers cost on this machine.
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

from model_store.manifest import Calibration, Manifest, Rounding
from model_store.store import Store
from service.inference.artifact import Artifact, read_artifact
from service.inference.autotune import autotune
from service.inference.early_stopping import EarlyStopping
from service.inference.engine import Engine
from service.inference.graph import with_constants
from service.inference.quantization import quantize
from service.pipeline.postprocessing import Predicted, ResponseBuilder
from service.repository.verification import draw_key
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler

DENSE, PASS = "dense", "one pass"
# So that the threads of one way, which may spin for a while, do not slow the next.
PAUSE = 0.005
IN_A_ROW = 5
Images = npt.NDArray[np.uint8]
# Answers one image uint8 [1, H, W, C], and says how many draws that took.
Way = Callable[[Images], int]


@dataclass(frozen=True)
class Row:
    """One way of one level: medians over images, in milliseconds and in passes of the dense network."""

    arch: str
    level: str
    way: str
    draws: float
    ms: float
    mean_ms: float
    ratio_to_dense_pass: float


@dataclass
class Benchmark:
    """Ways to answer, by level and name; `rows` times them on some images."""

    arch: str
    ways: dict[tuple[str, str], Way] = field(default_factory=dict)

    def rows(self, images_NHWC: Images, rounds: int) -> Iterator[Row]:
        """Time every way; each round takes the next images, and every way the same."""
        seconds: dict[tuple[str, str], list[float]] = {name: [] for name in self.ways}
        draws: dict[tuple[str, str], list[int]] = {name: [] for name in self.ways}
        for number in range(rounds):
            for name, way in self.ways.items():
                time.sleep(PAUSE)
                for turn in range(IN_A_ROW):
                    place = (number * IN_A_ROW + turn) % len(images_NHWC)
                    image = images_NHWC[place : place + 1]
                    begun = time.perf_counter()
                    draws[name].append(way(image))
                    seconds[name].append(time.perf_counter() - begun)
        price = median(seconds[DENSE, PASS])
        for (level, way_name), each in seconds.items():
            yield Row(
                arch=self.arch,
                level=level,
                way=way_name,
                draws=mean(draws[level, way_name]),
                ms=1000 * median(each),
                mean_ms=1000 * mean(each),
                ratio_to_dense_pass=median(each) / price,
            )


@dataclass(frozen=True)
class BenchLevel:
    """A level that takes part: the bytes of its file, what keys its draws and how many there are, what decides."""

    level: str
    data: bytes
    key: str
    draws: int
    classes: tuple[str, ...]
    calibration: Calibration
    roundings: Mapping[str, Rounding]


def levels_of(store: Store, manifest: Manifest) -> list[BenchLevel]:
    """Every level of a version."""
    return [
        BenchLevel(
            level.name,
            store.read_level(manifest, level.name),
            draw_key(manifest.version, level.name),
            level.monte_carlo.draws,
            manifest.classes,
            level.calibration,
            level.roundings,
        )
        for level in manifest.levels
    ]


@contextmanager
def benchmark(arch: str, levels: Sequence[BenchLevel], threads: int, tolerance: float) -> Iterator[Benchmark]:
    """The ways that need nothing but the files: passes, draws inside the graph, and the service's own, on `threads`.

    The first level is the dense one.
    """
    scheduler, builders = Scheduler(threads), ThreadPoolExecutor(threads)
    made = Benchmark(arch)
    try:
        for entrant in levels:
            artifact = read_artifact(entrant.data, entrant.roundings)
            engine = autotune(artifact, entrant.key, builders, threads)
            engine.prepare(entrant.draws)
            settlement = EarlyStopping.of(entrant.calibration, tolerance)
            made.ways[entrant.level, PASS] = _pass(replace(artifact, roundings={}), threads)
            if entrant.roundings:
                made.ways[entrant.level, f"{PASS} in eight bits"] = _pass(artifact, threads)
            made.ways[entrant.level, "draws in the graph"] = _in_graph(entrant.data, entrant.draws, threads)
            made.ways[entrant.level, "ours, fixed"] = partial(_ask, scheduler, engine, entrant, None)
            made.ways[entrant.level, "ours, adaptive"] = partial(_ask, scheduler, engine, entrant, settlement)
        yield made
    finally:
        scheduler.close()
        builders.shutdown()


def _ask(
    scheduler: Scheduler, engine: Engine, entrant: BenchLevel, settlement: EarlyStopping | None, image_1HWC: Images
) -> int:
    answering = ResponseBuilder(entrant.classes, entrant.calibration, quantile=0.5, top_k=10)
    job = Job(engine, image_1HWC, entrant.draws, answering, settlement)
    scheduler.submit(job)
    answered: list[Predicted] = job.future.result()
    return answered[0].verdict.draws


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
    """ONNX Runtime as its makers set it up, but for the number of threads."""
    import onnxruntime  # not above, where it would come before what `service.session` sets for it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """For a file."""
    return {"rows": [asdict(row) for row in rows]}


def as_table(rows: Sequence[Row]) -> Table:
    """For people."""
    table = Table("level", "way", *("draws", "ms", "mean ms", "dense passes"))
    for row in rows:
        numbers = (f"{row.draws:.1f}", f"{row.ms:.3f}", f"{row.mean_ms:.3f}", f"{row.ratio_to_dense_pass:.2f}")
        table.add_row(row.level, row.way, *numbers)
    return table


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
        typer.Option(
            envvar="SLIMBAYES_STORE",
            help="Folder or URL of the store, or `zoo`, which is shipped; by default `store` if there, else `zoo`.",
        ),
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
    from model_store.storage.location import default_location
    from model_store.store import Store
    from service.errors import ServiceError
    from service.pipeline.preprocessing import decode, ignore_metadata_warnings
    from service.resources import usable_cores
    from service.settings import Settings

    ignore_metadata_warnings()
    try:
        opened = Store.open(store or default_location())
        name = opened.sole_model(model)
        manifest = opened.manifest(name, opened.resolve(name, version))
        shape = manifest.input
        most = Settings.model_fields["max_pixels"].default
        if pictures:
            images = np.stack([decode(path.read_bytes(), shape, most, n) for n, path in enumerate(pictures)])
        else:
            size = (256, shape.height, shape.width, shape.channels)
            images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        with benchmark(
            manifest.training.architecture, levels_of(opened, manifest), threads or usable_cores(), tolerance
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
