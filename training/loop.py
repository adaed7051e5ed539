"""The training loop: one process or one rank of many, from scratch, from a checkpoint or from another posterior."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.batches import Batches
from training.data.augmentation import crop_and_flip
from training.data.images import Dataset
from training.distributed import World
from training.errors import DivergedError
from training.objective import data_term, divergence, negative_elbo
from training.progress import Stage
from training.randomness import generator_for, reseed
from training.recipe import Recipe


@dataclass(frozen=True)
class Step:
    """What one step did, over the whole world; `images` counts all that were seen so far."""

    images: int
    epoch: int
    epoch_ended: bool
    loss: float
    data: float
    kl: float
    accuracy: float


@dataclass
class Fit:
    """A network, its optimiser and how many images the world has shown them."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    images: int = 0

    @classmethod
    def begin(cls, module: nn.Module, recipe: Recipe) -> Fit:
        """A fresh optimiser for a converted network."""
        return cls(module, torch.optim.Adam(module.parameters(), lr=recipe.learning_rate))


class _Objective(nn.Module):
    """The network and its loss in one forward pass, so that DistributedDataParallel sees every gradient."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(
        self, x_NCHW: Tensor, labels_N: Tensor, beta: float, train_size: int, share: float
    ) -> tuple[Tensor, Tensor]:
        logits_NK = self.module(x_NCHW)
        data, kl = data_term(logits_NK, labels_N), divergence(self.module)
        accuracy = (logits_NK.argmax(1) == labels_N).float().mean()
        loss = negative_elbo(data, kl, beta=beta, train_size=train_size, share=share)
        return loss, torch.stack([loss, share * data, kl, share * accuracy]).detach()


def fit(
    state: Fit,
    dataset: Dataset,
    recipe: Recipe,
    world: World,
    *,
    name: str = "training",
    after_step: Callable[[Step], None] = lambda step: None,
) -> None:
    """Train `state` in place until the recipe's epochs are over.

    `after_step` runs on every rank after each step. Raises DivergedError when the loss is not a number any more.
    """
    train = dataset.train
    batches = Batches(len(train), recipe.batch_size, world.size, recipe.seed)
    total = len(train) * recipe.epochs
    objective = world.wrap(_Objective(state.module.to(world.device)))
    objective.train()
    started, already = time.monotonic(), state.images
    order_epoch, order = -1, torch.empty(0)
    with Stage(name, total, quiet=not world.leads) as stage:
        stage.advance(already, "")
        while state.images < total:
            epoch, seen = divmod(state.images, len(train))
            if epoch != order_epoch:
                order_epoch, order = epoch, batches.order(epoch)
            of_world = batches.of_world(order, seen)
            index = batches.of_rank(of_world, world.rank)
            for group in state.optimizer.param_groups:
                group["lr"] = recipe.learning_rate_at(state.images / total)
            reseed(recipe.seed, "noise", state.images, world.rank)
            x_NCHW = dataset.pixels.normalise(train.pixels[index].to(world.device))
            if dataset.mirrored:
                x_NCHW = crop_and_flip(x_NCHW, generator_for(recipe.seed, "crops", state.images, world.rank))
            loss, figures = objective(
                x_NCHW,
                train.labels[index].to(world.device),
                recipe.beta_at(state.images / len(train)),
                len(train),
                world.size * len(index) / len(of_world),
            )
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            means = world.mean(figures).tolist()
            if not all(map(torch.isfinite, map(torch.tensor, means))):
                raise DivergedError(f"the loss is not finite after {state.images:,} images: lower the learning rate")
            state.optimizer.step()
            state.images += len(of_world)
            step = Step(state.images, epoch, state.images % len(train) == 0, *means)
            after_step(step)
            rate = (state.images - already) / (time.monotonic() - started)
            note = f"loss {step.loss:.3f}, accuracy {step.accuracy:.3f}, KL {step.kl:,.0f}, {rate:,.0f} images/s"
            stage.advance(len(of_world), f"epoch {epoch + 1}/{recipe.epochs}, {note}")
