"""What each rank does in the distributed tests: `distributed_worker.py OUT BATCH_SIZE`, alone or under torchrun.

It trains small networks with `training.trainer.loop.fit` and dumps what the rank has, drew and saw to
OUT/rank-R.pt: first one
whose scales are tiny and whose optimiser is plain gradient descent, so that the parameters' way is known; then one
under each estimator, by each reduction of the gradients.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.bayesian.estimators import ESTIMATORS, create_approximation, reparam
from training.bayesian.layers import BayesianLayer
from training.bayesian.variational import Variational
from training.data import load_dataset
from training.data.dataset import Dataset
from training.defaults import default_recipe
from training.distributed.gradient_sync import REDUCTIONS
from training.distributed.world import World, join_world
from training.randomness import reseed
from training.recipe import Recipe
from training.trainer.loop import LoopOptions, Step, TrainLoop, TrainState, fit

# Two batches an epoch of which the second, of 15 images, is shared unevenly by two ranks.
TRAIN_SIZE = 31
RECIPE = Recipe(
    epochs=2,
    learning_rate=0.1,
    scaling="none",
    prior_scale=1.0,
    initial_scale=1e-6,
    beta=1.0,
    warmup_epochs=0.0,
    seed=4,
)


def main(out: Path, batch_size: int) -> None:
    """Train, and dump."""
    recipe = replace(RECIPE, batch_size=batch_size)
    dataset = load_dataset("digits", None, seed=recipe.seed, limit=200)
    dataset = replace(dataset, train=dataset.train[:TRAIN_SIZE])
    noises: list[Tensor] = []
    seen: list[int] = []
    steps: list[Step] = []

    def recording(layer: BayesianLayer, x: Tensor) -> Tensor:
        with torch.random.fork_rng():
            noises.append(torch.randn_like(layer.mean))
        seen.append(len(x))
        return reparam.draw(layer, x)

    with join_world("cpu") as world:
        torch.manual_seed(100 + world.rank)  # ranks start apart, and must not stay so
        plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        if world.is_leader:
            torch.manual_seed(0)
            plain[1].reset_parameters()
        approximation = Variational.create(recording, plain, recipe)
        module = approximation.module
        approximation.optimizer = torch.optim.SGD(module.parameters(), lr=recipe.learning_rate)
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        fit(
            TrainState(approximation),
            dataset,
            recipe,
            world,
            options=LoopOptions(reduction="float32"),
            after_step=steps.append,
        )
        settling = int(world.size > 1)  # the pass for nothing before the first step of ranks together
        dump = {
            "world": (world.rank, world.size),
            "before": before,
            "after": module.state_dict(),
            "noises": noises[settling:],
            "seen": seen[settling:],
            "steps": [(step.images, step.loss, step.data, step.kl, step.accuracy) for step in steps],
            "estimators": {
                (name, kind): under(name, kind, dataset, replace(recipe, epochs=30), world)
                for name, kind in (*((name, "bfloat16") for name in ESTIMATORS), *(("reparam", k) for k in REDUCTIONS))
            },
        }
        torch.save(dump, out / f"rank-{world.rank}.pt")


def under(name: str, kind: str, dataset: Dataset, recipe: Recipe, world: World) -> dict[str, Any]:
    """Posterior, first noise, last loss and bytes of a step, from networks that start the same on every rank."""
    recipe = default_recipe("digits", world.device, estimator=name, epochs=recipe.epochs, batch_size=recipe.batch_size)
    recipe = replace(recipe, prior_scale=1.0)  # of so few images even a weak prior is a strong one
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    state = TrainState(create_approximation(plain, recipe, len(dataset.train), average=world.mean))
    epochs = TrainLoop(state, dataset, recipe, world, LoopOptions(reduction=kind))
    reseed(recipe.seed, "noise", 0, world.rank, 0)
    noise = torch.randn(10, 64)
    steps = [epochs.step() for _ in range(60)]
    posterior = state.approximation.posterior()
    weight = posterior.weights["1.weight"]
    return {
        "mean": weight.mean,
        "scale": weight.scale,
        "bias": posterior.rest["1.bias"],
        "noise": noise,
        "data": steps[-1].data,
        "gradient_bytes": epochs.gradient_sync.bytes_sent / len(steps),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
