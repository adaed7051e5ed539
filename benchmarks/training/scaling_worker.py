"""Run one rank of `benchmarks.training.scaling`, under torchrun with one thread per rank.

Three kinds of steps take turns, so that other load on the machine meets all of them: one rank alone while the other
sleeps, both ranks at once without gradient synchronisation, and both with it. The cost of synchronisation is then
measured on its own: the time that ranks wait for each other after independent work, and the time of the messages.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.distributed as dist
import typer

from benchmarks.training.cost import random_images
from training.allocator import keep_freed_memory
from training.bayesian.estimators.ivon import HESSIAN_EVERY_STEPS, IVON
from training.data.dataset import Dataset
from training.defaults import default_recipe
from training.distributed.world import World, join_world
from training.trainer.loop import LoopOptions, TrainLoop, TrainState
from training.trainer.train import approximation

LARGEST_BYTES = 8 * 4**11  # 32 MiB


def main(
    out: Annotated[Path, typer.Argument(help="JSON file that rank 0 writes.")],
    arch: Annotated[str, typer.Option()],
    estimators: Annotated[str, typer.Option(help="Separated by commas.")],
    batch_size: Annotated[int, typer.Option()],
    blocks: Annotated[int, typer.Option(help="Turns.")],
    steps: Annotated[int, typer.Option(help="Steps per turn.")],
    largest: Annotated[int, typer.Option(help="Largest message of the sweep, in bytes.")] = LARGEST_BYTES,
) -> None:
    """Measure the sweep and every estimator; rank 0 writes the figures."""
    keep_freed_memory()
    torch.set_num_threads(1)
    dataset = random_images()
    with join_world("cpu") as world:
        found: dict[str, Any] = {"sweep": sweep(world, max(20, 10 * blocks), largest)}
        found["estimators"] = {
            name: measure(world, dataset, arch, name, batch_size, blocks, steps) for name in estimators.split(",")
        }
        found["by_batch_ms"] = {
            size: alone(world, stepper(dataset, arch, "none", size, World(0, 1, world.device)).step, 1 + steps)[1:]
            for size in (batch_size // 16, batch_size // 4, batch_size)
        }
        if world.is_leader:
            out.write_text(json.dumps(found))


def sweep(world: World, repeats: int, largest: int) -> dict[int, float]:
    """Return median milliseconds of an all-reduce by message bytes: 8, 32, 128, …, up to `largest`."""
    medians = {}
    for size in itertools.takewhile(lambda size: size <= largest, (8 * 4**power for power in itertools.count())):
        message = torch.zeros(size // 4)
        repeated = repeats if size < 2**22 else max(5, repeats // 5)
        times = []
        for _ in range(repeated + 2):
            world.barrier()
            started = time.perf_counter()
            dist.all_reduce(message)
            times.append(1e3 * (time.perf_counter() - started))
        medians[size] = sorted(times[2:])[repeated // 2]
    return medians


def stepper(dataset: Dataset, arch: str, estimator: str, batch_size: int, world: World) -> TrainLoop:
    """Return a training loop, ready for its next step."""
    changes = {"architecture": arch, "estimator": estimator, "batch_size": batch_size, "epochs": 10_000}
    recipe = default_recipe("cifar10", world.device, precision="float32", **changes)
    return TrainLoop(TrainState(approximation(recipe, dataset, world)), dataset, recipe, world, LoopOptions())


def timed(step: Callable[[], object], count: int) -> list[float]:
    """Return the milliseconds of each of `count` steps."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - started))
    return times


def alone(world: World, step: Callable[[], object], count: int) -> list[float]:
    """Return the milliseconds of steps on rank 0 while the other ranks sleep; empty on those."""
    world.barrier()
    times = timed(step, count) if world.is_leader else []
    world.barrier()
    return times


def measure(
    world: World, dataset: Dataset, arch: str, estimator: str, batch_size: int, blocks: int, steps: int
) -> dict[str, Any]:
    """Return times in milliseconds, and the bytes that one rank passes to all-reduces per step."""
    single = stepper(dataset, arch, estimator, batch_size, World(0, 1, world.device))
    shared = stepper(dataset, arch, estimator, batch_size, world)
    timed(single.step, 1)
    timed(shared.step, 2)
    found: dict[str, list[float]] = {"alone": [], "side_by_side": [], "together": [], "wait": [], "transfer": []}
    gradient = torch.zeros(1)
    for _ in range(blocks):
        found["alone"] += alone(world, single.step, steps)
        world.barrier()
        found["side_by_side"] += timed(single.step, steps)
        world.barrier()
        before = shared.gradient_sync.bytes_sent
        found["together"] += timed(shared.step, steps)
        per_step = (shared.gradient_sync.bytes_sent - before) // steps
        gradient = gradient if 4 * len(gradient) == per_step else torch.zeros(per_step // 4)
        for _ in range(steps):
            single.step()
            computed = time.perf_counter()
            world.barrier()
            met = time.perf_counter()
            dist.all_reduce(gradient)
            done = time.perf_counter()
            found["wait"].append(1e3 * (met - computed))
            found["transfer"].append(1e3 * (done - met))
    approximation = shared.state.approximation
    found_bytes = {"gradient_bytes": per_step, "hessian_bytes": hessian_bytes(approximation.optimizer)}
    found_bytes["parameter_bytes"] = sum(4 * each.numel() for each in approximation.module.parameters())
    return {**found, **found_bytes, "steps_per_turn": steps}


def hessian_bytes(optimizer: torch.optim.Optimizer) -> float:
    """Return the mean bytes per step of IVON's second all-reduce; 0 for another optimiser."""
    if not isinstance(optimizer, IVON):
        return 0.0
    return sum(4 * mean.numel() for _, mean, _ in optimizer.random_weights()) / HESSIAN_EVERY_STEPS


if __name__ == "__main__":
    typer.run(main)
