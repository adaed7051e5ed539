"""Compare the throughput of `slimbayes score` with the engine alone.

    python -m benchmarks.serving.score --data-dir data --json docs/results/score.json

All variants take turns on the same images, engine and threads: from memory through the scheduler (to logits, and up to
the answers of the service), and from files by `slimbayes score` (Parquet of pixels, Parquet of PNG, PNG files), which
reads, decodes and writes while the engine computes.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import typer
from PIL import Image
from pyarrow import parquet
from rich.console import Console
from rich.progress import track

from model_store.storage.location import default_location
from model_store.store import Store
from service.cli.score import plan_for
from service.inference.decision import Postprocessor, conformal_quantile
from service.pipeline.postprocessing import ResponseBuilder
from service.resources import usable_cores
from service.scheduling.job import Conclude, Job
from service.scoring.inventory import scan_input
from service.scoring.pipeline import IN_FLIGHT, Task
from service.scoring.scorer import Scorer
from service.scoring.sink import Output
from service.settings import TOLERANCE
from training.data import load_dataset

ENGINE, ANSWERS = "engine: logits", "engine: answers"
WARM_UP_IMAGES = 256
Pixels = npt.NDArray[np.uint8]


class Spent(NamedTuple):
    """Wall-clock seconds, and CPU seconds of all threads together."""

    seconds: float
    processors: float

    @classmethod
    def since(cls, begun: Spent | None = None) -> Spent:
        """Return the time spent since `begun`, or the clocks themselves."""
        now = cls(time.perf_counter(), time.process_time())
        return now if begun is None else cls(now.seconds - begun.seconds, now.processors - begun.processors)


Way = Callable[[Pixels, Path], Spent]


@dataclass(frozen=True)
class Subject:
    """The scorer, store and batch size that all variants share."""

    scorer: Scorer
    store: str
    batch: int

    def engine(self, conclude: Conclude) -> Way:
        """Return a variant on pixels in memory, with as many jobs in flight as scoring has."""

        def run(images_NHWC: Pixels, folder: Path) -> Spent:
            scorer, waiting = self.scorer, deque[Job]()
            begun = Spent.since()
            for at in range(0, len(images_NHWC), self.batch):
                part = images_NHWC[at : at + self.batch]
                waiting.append(Job(scorer.engine, part, scorer.plan.samples, conclude, scorer.early_stopping))
                scorer.scheduler.submit(waiting[-1])
                if len(waiting) > scorer.threads + IN_FLIGHT:
                    waiting.popleft().future.result()
            for job in waiting:
                job.future.result()
            return Spent.since(begun)

        return run

    def files(self, write: Callable[[Pixels, Path], None]) -> Way:
        """Return a variant of `slimbayes score` on files, without the time to load the model."""

        def run(images_NHWC: Pixels, folder: Path) -> Spent:
            write(images_NHWC, folder / "in")
            begun = Spent.since()
            manifest, asked = self.scorer.manifest, self.scorer.plan
            source, inventory = scan_input(str(folder / "in"), manifest.input, None, None)
            plan = plan_for(manifest, inventory, asked.level, "auto", **asked.model_dump(include=CHOSEN))
            output = Output(str(folder / "out"))
            output.begin(plan)
            task = Task(plan, self.store, source, output.location, self.batch, self.scorer.threads)
            task.pipeline(self.scorer, lambda images, rows: None).run(inventory.shards(plan.shard_size))
            assert output.finish(plan).total() == len(images_NHWC)
            return Spent.since(begun)

        return run


CHOSEN = {"source", "alpha", "tolerance", "precision", "max_pixels", "shard_size"}


def as_pixels(images_NHWC: Pixels, folder: Path) -> None:
    """Write Parquet of raw pixels."""
    folder.mkdir()
    images = pa.array([image_HWC.tobytes() for image_HWC in images_NHWC], pa.binary(images_NHWC[0].size))
    parquet.write_table(pa.table({"image": images}), folder / "0.parquet", row_group_size=1000)


def as_png(images_NHWC: Pixels, folder: Path) -> None:
    """Write Parquet of PNG images."""
    folder.mkdir()
    parquet.write_table(pa.table({"image": list(_png(images_NHWC))}), folder / "0.parquet", row_group_size=1000)


def as_files(images_NHWC: Pixels, folder: Path) -> None:
    """Write one PNG file per image."""
    folder.mkdir()
    for number, data in enumerate(_png(images_NHWC)):
        (folder / f"{number:06d}.png").write_bytes(data)


def _png(images_NHWC: Pixels) -> Iterator[bytes]:
    for image_HWC in images_NHWC:
        buffer = BytesIO()
        Image.fromarray(image_HWC.squeeze()).save(buffer, "PNG")
        yield buffer.getvalue()


WRITERS = {"score: Parquet of pixels": as_pixels, "score: Parquet of PNG": as_png, "score: PNG files": as_files}


def measure(subject: Subject, rounds: Sequence[Pixels]) -> Iterator[dict[str, Any]]:
    """Yield a row per variant; rounds differ in their images, variants of a round share them."""
    scorer = subject.scorer
    classes, calibration = scorer.manifest.classes, scorer.level.calibration
    quantile = conformal_quantile(scorer.plan.alpha, scorer.level)
    builder = ResponseBuilder(classes, calibration, quantile, len(classes))
    ways: dict[str, Way] = {
        ENGINE: subject.engine(lambda logits_SNK, *_: list(logits_SNK.swapaxes(0, 1))),
        ANSWERS: subject.engine(Postprocessor(calibration, builder.render, scorer.early_stopping)),
        **{name: subject.files(write) for name, write in WRITERS.items()},
    }
    spent: dict[str, list[Spent]] = {name: [] for name in ways}
    ways[ENGINE](rounds[0][:WARM_UP_IMAGES], Path())
    for images_NHWC in track(rounds, "rounds", console=Console(stderr=True)):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                spent[name].append(way(images_NHWC, Path(folder)))
    count = sum(map(len, rounds))
    for name, own in spent.items():
        yield {
            "way": name,
            "images": count,
            "images_per_second": count / sum(each.seconds for each in own),
            "processor_ms": 1000 * sum(each.processors for each in own) / count,
            **{
                share: median(of.seconds / mine.seconds for of, mine in zip(spent[whole], own, strict=True))
                for share, whole in (("of_logits", ENGINE), ("of_answers", ANSWERS))
            },
        }


def main(
    store: Annotated[str | None, typer.Option(help="Store; by default the zoo.")] = None,
    level: Annotated[str | None, typer.Option(help="Level; by default the version's.")] = None,
    data: Annotated[str, typer.Option(help="Data set whose training images are scored.")] = "cifar10",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the data set.")] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of images.")] = None,
    rounds: Annotated[int, typer.Option(help="Parts of the images; variants take turns on each part.")] = 5,
    batch: Annotated[int, typer.Option(help="Images per batch.")] = 64,
    threads: Annotated[int | None, typer.Option(help="Threads.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Measure all variants, and print the table."""
    found = load_dataset(data, data_dir or Path("data"), seed=0, quiet=True)
    images_NHWC = np.concatenate([each.pixels.numpy() for each in (found.train, found.calibration)])[:limit]
    opened = Store.open(store or default_location())
    name = opened.sole_model(None)
    manifest = opened.manifest(name, opened.resolve(name))
    with tempfile.TemporaryDirectory() as folder:
        as_pixels(images_NHWC[:1], Path(folder) / "in")
        _, inventory = scan_input(str(Path(folder) / "in"), manifest.input, None, None)
    plan = plan_for(manifest, inventory, level, "auto", source=data, alpha=0.1, tolerance=TOLERANCE,
                    precision="published", max_pixels=2**24, shard_size=10_000)  # fmt: skip
    begun = time.perf_counter()
    with Scorer(plan, opened, threads or usable_cores()) as scorer:
        ready = time.perf_counter() - begun
        rows = list(measure(Subject(scorer, opened.url, batch), np.array_split(images_NHWC, rounds)))
    figures = {"level": plan.level, "threads": scorer.threads, "batch": batch, "ready_seconds": ready, "rows": rows}
    table = as_markdown(figures)
    print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")


def as_markdown(figures: dict[str, Any]) -> str:
    """Format the settings and the table as Markdown."""
    lines = [
        f"Level {figures['level']}, {figures['threads']} threads, {figures['batch']} images together."
        f" Building the model took {figures['ready_seconds']:.1f} s, once.",
        "",
        "| way | images | images/s | of the engine's logits | of its answers | processor ms an image |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in figures["rows"]:
        shares = f"{row['of_logits']:.2f} | {row['of_answers']:.2f} | {row['processor_ms']:.3f}"
        lines.append(f"| {row['way']} | {row['images']:,} | {row['images_per_second']:,.0f} | {shares} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
