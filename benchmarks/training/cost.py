"""Measure the cost of a training step by estimator, relative to the plain network's.

    python -m benchmarks.training.cost --json docs/results/training_cost.json

Steps are those of the training loop, on random images in CIFAR-10's shape. The estimators take turns within one
process, so that other load on the machine meets all of them. Ratios are of medians and, beside them, of means, which
include IVON's work of every tenth step. Augmentations are timed on a step's images, relative to the plain network's
step. Writes the JSON and, beside it, a table and a plot of one profiled step by kind of operation.
"""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import matplotlib as mpl
import torch
import typer
from torch.profiler import ProfilerActivity, profile

from training.allocator import keep_freed_memory
from training.bayesian.estimators import ESTIMATORS
from training.data.augmentation import AUGMENTATIONS
from training.data.dataset import Dataset, Images, Pixels
from training.defaults import default_recipe
from training.distributed.world import World
from training.progress import Stage
from training.trainer.loop import LoopOptions, TrainLoop, TrainState
from training.trainer.train import approximation

mpl.use("Agg")
from matplotlib import pyplot as plt

IMAGES = 1_024
ROUNDS = {"resnet20": 40, "resnet18": 10}
QUICK_ROUNDS = {"resnet20": 7, "resnet18": 1}
AUGMENTATION_ROUNDS = 50
# Operators of each part of a step, by substrings of the names that the profiler reports.
PARTS = {
    "convolutions": ("convolution", "mkldnn", "linear", "addmm", "mm"),
    "normalisation": ("batch_norm",),
    "noise": ("randn", "normal_", "randint", "random_"),
    "optimiser": ("Optimizer.step", "_fused_adam_", "_fused_sgd_", "lerp_"),
}


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds: the same ratios with more noise.")] = False,
    archs: Annotated[str, typer.Option(help="Architectures, separated by commas.")] = "resnet20,resnet18",
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 128,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    threads: Annotated[int, typer.Option(help="Threads; 0 for torch's default.")] = 0,
) -> None:
    """Time the steps, and print the table."""
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    rows: list[dict[str, Any]] = []
    for arch in archs.split(","):
        rounds = (QUICK_ROUNDS if quick else ROUNDS).get(arch, 5)
        rows += measure(arch, batch_size, precision, rounds, profiled=not quick)
    augmented = augmentations(batch_size, rows)
    table = as_table(rows) + "\n\n" + augmentation_table(augmented)
    print(table)
    report = {"batch_size": batch_size, "precision": precision, "threads": torch.get_num_threads(), "rows": rows}
    report["augmentations"] = augmented
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")
        plot(rows, json_file.with_suffix(".png"))


def measure(arch: str, batch_size: int, precision: str, rounds: int, *, profiled: bool) -> list[dict[str, Any]]:
    """Return one row per estimator, the plain network first."""
    dataset = random_images()
    names = ["none", *(name for name in ESTIMATORS if name != "none")]
    steps = {name: stepping(arch, name, batch_size, precision, dataset) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    with Stage(arch, (rounds + 1) * len(names)) as stage:
        for number in range(rounds + 1):
            for name in names:
                started = time.perf_counter()
                steps[name]()
                if number > 0:  # the first warms up
                    times[name].append(1e3 * (time.perf_counter() - started))
                stage.advance(1, name)
    rows = []
    for name in names:
        row: dict[str, Any] = {"arch": arch, "estimator": name, "ms_per_step": median(times[name])}
        row["ratio_to_plain"] = row["ms_per_step"] / median(times["none"])
        row["ratio_of_means"] = mean(times[name]) / mean(times["none"])
        row["steps"] = rounds
        if profiled:
            row["parts_ms"] = parts(steps[name])
        rows.append(row)
    gc.collect()
    return rows


def random_images() -> Dataset:
    """Return noise in CIFAR-10's shape; the content of images does not change the time of a step."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (IMAGES, 32, 32, 3), dtype=torch.uint8, generator=generator)
    images = Images(pixels, torch.randint(0, 10, (IMAGES,), generator=generator))
    return Dataset(
        "random",
        tuple(map(str, range(10))),
        Pixels.of(pixels),
        images,
        images[:1],
        images[:1],
        {},
    )


def stepping(arch: str, estimator: str, batch_size: int, precision: str, dataset: Dataset) -> Callable[[], object]:
    """Return a function that takes the training loop's next step."""
    alone = World(0, 1, torch.device("cpu"))
    recipe = default_recipe(
        "cifar10",
        alone.device,
        architecture=arch,
        estimator=estimator,
        batch_size=batch_size,
        precision=precision,
        epochs=10_000,
    )
    return TrainLoop(TrainState(approximation(recipe, dataset, alone)), dataset, recipe, alone, LoopOptions()).step


def parts(step: Callable[[], object]) -> dict[str, float]:
    """Profile one step, forward and backward together; return milliseconds by part."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    spent: Counter[str] = Counter()
    for event in profiler.key_averages():
        part = next((part for part, names in PARTS.items() if any(name in event.key for name in names)), "elementwise")
        spent[part] += event.self_cpu_time_total / 1e3
    return {part: spent[part] for part in (*PARTS, "elementwise")}


def augmentations(batch_size: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Time each augmentation of a batch, in ms and as a share of the plain network's step by architecture."""
    pixels_NHWC, generator = random_images().train.pixels[:batch_size], torch.Generator().manual_seed(0)
    plain = {row["arch"]: row["ms_per_step"] for row in rows if row["estimator"] == "none"}
    found = []
    for name, augment in AUGMENTATIONS.items():
        times = []
        for _ in range(AUGMENTATION_ROUNDS):
            started = time.perf_counter()
            augment(pixels_NHWC, generator)
            times.append(1e3 * (time.perf_counter() - started))
        share = {arch: median(times) / step for arch, step in plain.items()}
        found.append({"augmentation": name, "ms": median(times), "share_of_plain_step": share})
    return found


def augmentation_table(rows: list[dict[str, Any]]) -> str:
    """Format the augmentations as Markdown."""
    archs = list(rows[0]["share_of_plain_step"])
    lines = [f"| augmentation | ms a step | {' | '.join(f'of a {arch} step' for arch in archs)} |"]
    lines.append("|---|--:|" + "--:|" * len(archs))
    for row in rows:
        shares = " | ".join(f"{row['share_of_plain_step'][arch]:.2%}" for arch in archs)
        lines.append(f"| {row['augmentation']} | {row['ms']:.2f} | {shares} |")
    return "\n".join(lines)


def as_table(rows: list[dict[str, Any]]) -> str:
    """Format the rows as Markdown."""
    lines = ["| architecture | estimator | ms a step | against plain | of means |", "|---|---|--:|--:|--:|"]
    for row in rows:
        lines.append(
            f"| {row['arch']} | {row['estimator']} | {row['ms_per_step']:,.1f} | {row['ratio_to_plain']:.3f} "
            f"| {row['ratio_of_means']:.3f} |"
        )
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot the profiled parts as stacked bars, one panel per architecture."""
    archs = list(dict.fromkeys(row["arch"] for row in rows))
    figure, axes = plt.subplots(1, len(archs), figsize=(5 * len(archs), 3.2), layout="constrained", squeeze=False)
    for axis, arch in zip(axes[0], archs, strict=True):
        of_arch = [row for row in rows if row["arch"] == arch]
        left = [0.0] * len(of_arch)
        if all("parts_ms" in row for row in of_arch):
            for part in of_arch[0]["parts_ms"]:
                widths = [row["parts_ms"][part] for row in of_arch]
                axis.barh([row["estimator"] for row in of_arch], widths, left=left, label=part, height=0.6)
                left = [start + width for start, width in zip(left, widths, strict=True)]
            axis.legend(frameon=False, fontsize=8)
        else:
            axis.barh([row["estimator"] for row in of_arch], [row["ms_per_step"] for row in of_arch], height=0.6)
        for row, end in zip(of_arch, left, strict=True):
            axis.text(max(end, row["ms_per_step"]), row["estimator"], f" {row['ratio_to_plain']:.2f}x", va="center")
        axis.invert_yaxis()
        axis.set_title(arch, loc="left")
        axis.set_xlabel("ms a step")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.15)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
