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
    """What one step did, over the whole world: `size` images, which make `images` so far."""

    size: int
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
    epochs = _Epochs(state, dataset, recipe, world)
    started, already = time.monotonic(), state.images
    with Stage(name, epochs.total, quiet=not world.leads) as stage:
        stage.advance(already, "")
        while state.images < epochs.total:
            step = epochs.step()
            after_step(step)
            rate = (state.images - already) / (time.monotonic() - started)
            figures = f"loss {step.loss:.3f}, accuracy {step.accuracy:.3f}, KL {step.kl:,.0f}, {rate:,.0f} images/s"
            stage.advance(step.size, f"epoch {step.epoch + 1}/{recipe.epochs}, {figures}")


class _Epochs:
    """Takes one step after the other, each a function of how many images the world has seen."""

    def __init__(self, state: Fit, dataset: Dataset, recipe: Recipe, world: World) -> None:
        self.state, self.dataset, self.recipe, self.world = state, dataset, recipe, world
        self.train_size = len(dataset.train)
        self.total = self.train_size * recipe.epochs
        self.batches = Batches(self.train_size, recipe.batch_size, world.size, recipe.seed)
        self.objective = world.wrap(_Objective(state.module.to(world.device)))
        self.objective.train()
        self.order = self.batches.order(state.images // self.train_size)

    def step(self) -> Step:
        state, size = self.state, self.train_size
        epoch, seen = divmod(state.images, size)
        if seen == 0:
            self.order = self.batches.order(epoch)
        of_world = self.batches.of_world(self.order, seen)
        figures = self._descend(self.batches.of_rank(of_world, self.world.rank), len(of_world))
        state.images += len(of_world)
        return Step(len(of_world), state.images, epoch, state.images % size == 0, *figures)

    def _descend(self, index: Tensor, of_world: int) -> list[float]:
        """Move the parameters down the gradient at the images of `index`; loss, data term, KL and accuracy."""
        state, recipe = self.state, self.recipe
        for group in state.optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(state.images / self.total)
        reseed(recipe.seed, "noise", state.images, self.world.rank)
        beta, share = recipe.beta_at(state.images / self.train_size), self.world.size * len(index) / of_world
        loss, figures = self.objective(*self._examples(index), beta, self.train_size, share)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        means = self.world.mean(figures)
        if not means.isfinite().all():
            raise DivergedError(f"the loss is not finite after {state.images:,} images: lower the learning rate")
        state.optimizer.step()
        return list(means.tolist())

    def _examples(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised and augmented images, and their labels, on this rank's device."""
        examples, device = self.dataset.train[index], self.world.device
        x_NCHW = self.dataset.pixels.normalise(examples.pixels.to(device))
        if self.dataset.mirrored:
            generator = generator_for(self.recipe.seed, "crops", self.state.images, self.world.rank)
            x_NCHW = crop_and_flip(x_NCHW, generator)
        return x_NCHW, examples.labels.to(device)
