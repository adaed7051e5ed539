"""What each of three ranks does in a distributed test: `resumed_worker.py OUT`, under torchrun.

It takes ten steps at once, and again five and five with everything built anew in between, as a process that resumes
does; then a step for which fewer images are left than there are ranks. What came of it goes to OUT/rank-R.pt.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch
from torch import Tensor

from training.data import load_dataset
from training.data.dataset import Dataset
from training.defaults import default_recipe
from training.distributed.world import World, join_world
from training.recipe import Recipe
from training.trainer.loop import LoopOptions, TrainLoop, TrainState
from training.trainer.train import approximation


def main(out: Path) -> None:
    """Train and dump."""
    torch.set_num_threads(1)
    dataset = load_dataset("digits", None, seed=0, limit=200)
    with join_world("cpu") as world:
        recipe = default_recipe("digits", world.device, estimator="flipout", batch_size=4)
        resumed = steps(started(recipe, dataset, world), recipe, dataset, world, 5)
        again = started(recipe, dataset, world)
        again.approximation.module.load_state_dict(resumed.approximation.module.state_dict())
        again.approximation.optimizer.load_state_dict(copy.deepcopy(resumed.approximation.optimizer.state_dict()))
        again.images = resumed.images
        whole = steps(started(recipe, dataset, world), recipe, dataset, world, 10)
        again = steps(again, recipe, dataset, world, 5)
        left = started(recipe, dataset, world)
        left.images = len(dataset.train) - 1
        steps(left, recipe, dataset, world, 1)
        dump = {"whole": means(whole), "resumed": means(again), "left": means(left), "images": left.images}
        torch.save(dump | {"train_size": len(dataset.train)}, out / f"rank-{world.rank}.pt")


def started(recipe: Recipe, dataset: Dataset, world: World) -> TrainState:
    """A network at its first step."""
    return TrainState(approximation(recipe, dataset, world))


def steps(state: TrainState, recipe: Recipe, dataset: Dataset, world: World, count: int) -> TrainState:
    """The network `count` steps later."""
    epochs = TrainLoop(state, dataset, recipe, world, LoopOptions())
    for _ in range(count):
        epochs.step()
    return state


def means(state: TrainState) -> dict[str, Tensor]:
    """The means of all random weights."""
    return {name: weight.mean for name, weight in state.approximation.posterior().weights.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
