"""The training loop: one process or one rank of many, from scratch, from a checkpoint or from another posterior."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.bayesian.approximation import Approximation
from training.bayesian.objective import data_term, negative_elbo
from training.data.augmentation import augmentation
from training.data.dataset import Dataset
from training.distributed.gradient_sync import REDUCTIONS, GradientSync
from training.distributed.sampler import BatchSampler
from training.distributed.world import World
from training.errors import DivergedError, RecipeError
from training.precision import autocast
from training.progress import Stage
from training.randomness import generator_for, reseed
from training.recipe import Recipe
from training.trainer.distillation import Teacher


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
class TrainState:
    """A network on its way to a posterior, and how many images the world has shown it."""

    approximation: Approximation
    images: int = 0


@dataclass(frozen=True)
class LoopOptions:
    """How a run is computed, which decides nothing of what it computes but rounding."""

    compile: bool = False
    reduction: str = "bfloat16"

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise RecipeError(f"unknown reduction {self.reduction!r}: there is {', '.join(REDUCTIONS)}")
        if self.compile and shutil.which(os.environ.get("CXX", "g++")) is None:
            raise RecipeError("compiling the network needs a C++ compiler: install g++, or leave out --compile")


class _Objective(nn.Module):
    """The network and its loss in one forward pass, so that DistributedDataParallel sees every gradient."""

    def __init__(self, approximation: Approximation, precision: str) -> None:
        super().__init__()
        self.module = approximation.module
        self.penalty, self.precision = approximation.penalty, precision

    def forward(self, x_NCHW: Tensor, targets: Tensor, factors_3: Tensor) -> tuple[Tensor, Tensor]:
        """Targets are labels [N], or a teacher's probabilities [N, K].

        The factors are the divergence's weight, the share of these examples, and the part of this pass in its step.
        They come as a tensor because they change, which a compiled network need not be compiled anew for.
        """
        weight, share, part = factors_3.unbind()
        with autocast(x_NCHW.device, self.precision):
            logits_NK = self.module(x_NCHW)
        data, kl = data_term(logits_NK.float(), targets), self.penalty()
        labels_N = targets if targets.dim() == 1 else targets.argmax(1)
        accuracy = (logits_NK.argmax(1) == labels_N).float().mean()
        loss = negative_elbo(data, kl, weight=part * weight, share=share)
        return loss, torch.stack([share * data, share * accuracy, part * kl]).detach()


def fit(
    state: TrainState,
    dataset: Dataset,
    recipe: Recipe,
    world: World,
    *,
    name: str = "training",
    options: LoopOptions = LoopOptions(),
    teacher: Teacher | None = None,
    until: int | None = None,
    after_step: Callable[[Step], None] = lambda step: None,
) -> None:
    """Train `state` in place until the recipe's epochs are over, or the first `until` of them.

    `after_step` runs on every rank after each step. Raises DivergedError when the loss is not a number any more.
    """
    epochs = TrainLoop(state, dataset, recipe, world, options, teacher)
    started, already = time.monotonic(), state.images
    last = epochs.total if until is None else epochs.train_size * until
    with Stage(name, epochs.total, done=already, quiet=not world.is_leader) as stage:
        while state.images < last:
            step = epochs.step()
            after_step(step)
            rate = (state.images - already) / (time.monotonic() - started)
            figures = f"loss {step.loss:.3f}, accuracy {step.accuracy:.3f}, KL {step.kl:,.0f}, {rate:,.0f} images/s"
            stage.advance(step.size, f"epoch {step.epoch + 1}/{recipe.epochs}, {figures}")


class TrainLoop:
    """Takes one step after the other, each a function of how many images the world has seen."""

    def __init__(
        self,
        state: TrainState,
        dataset: Dataset,
        recipe: Recipe,
        world: World,
        options: LoopOptions,
        teacher: Teacher | None = None,
    ) -> None:
        self.state, self.dataset, self.recipe, self.world = state, dataset, recipe, world
        self.teacher = teacher
        self.train_size = len(dataset.train)
        self.total = self.train_size * recipe.epochs
        self.batches = BatchSampler(self.train_size, recipe.batch_size, world.size, recipe.seed)
        self.augment = augmentation(recipe.augmentation)
        objective: nn.Module = _Objective(state.approximation, recipe.precision)
        if options.compile:
            # With this, draws are those of the network that is not compiled.
            objective = torch.compile(objective, options={"fallback_random": True})  # type: ignore[assignment]
        self.gradient_sync = GradientSync(options.reduction, world.size)
        self.objective = world.wrap(objective, self.gradient_sync)
        self.objective.train()
        self.order = self.batches.permutation(state.images // self.train_size)
        if world.size > 1:
            self._settle()

    def _settle(self) -> None:
        """Take a pass for nothing, after which DistributedDataParallel orders its messages as it does ever after.

        Without it the first step of a resumed run would add up in another order than that of a run which went on.
        """
        module, optimizer = self.state.approximation.module, self.state.approximation.optimizer
        buffers = [buffer.clone() for buffer in module.buffers()]
        index = self.batches.rank_batch(self.batches.world_batch(self.order, 0), self.world.rank)
        factors_3 = torch.zeros(3, device=self.world.device)
        loss, _ = self.objective(*self._examples(index.tensor_split(self.recipe.accumulation)[0], 0), factors_3)
        loss.backward()
        optimizer.zero_grad(set_to_none=True)
        for buffer, before in zip(module.buffers(), buffers, strict=True):
            buffer.copy_(before)
        self.gradient_sync.bytes_sent = 0

    def step(self) -> Step:
        state, size = self.state, self.train_size
        epoch, seen = divmod(state.images, size)
        if seen == 0:
            self.order = self.batches.permutation(epoch)
        of_world = self.batches.world_batch(self.order, seen)
        figures = self._descend(self.batches.rank_batch(of_world, self.world.rank), of_world)
        state.images += len(of_world)
        return Step(len(of_world), state.images, epoch, state.images % size == 0, *figures)

    def _descend(self, index: Tensor, of_world: Tensor) -> list[float]:
        """Move the parameters down the gradient at the images of `index`; loss, data term, KL and accuracy."""
        state, recipe, optimizer = self.state, self.recipe, self.state.approximation.optimizer
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(state.images / self.total, self.world.size)
        optimizer.zero_grad(set_to_none=True)
        weight = recipe.beta_at(state.images / self.train_size) / self.train_size
        figures = self._backward(index, of_world, weight)
        data, accuracy, kl = figures().tolist()
        kl += state.approximation.divergence()
        loss = data + weight * kl
        if not math.isfinite(loss):
            step = self.batches.steps_taken(state.images) + 1
            raise DivergedError(
                f"the loss is not finite at step {step:,}, after {state.images:,} images: lower the learning rate"
            )
        optimizer.step()
        return [loss, data, kl, accuracy]

    def _backward(self, index: Tensor, of_world: Tensor, weight: float) -> Callable[[], Tensor]:
        """Leave the world's mean gradient in the parameters; a call gives the world's data term, accuracy and penalty.

        These travel while the last pass goes backwards. A rank that no image is left for takes part with one that
        counts for nothing.
        """
        recipe, world, counts = self.recipe, self.world, len(index) > 0
        index = index if counts else of_world[:1]
        pieces = [piece for piece in index.tensor_split(recipe.accumulation) if len(piece)]
        passes = [(place, piece) for place, piece in enumerate(pieces) for _ in range(recipe.draws)]
        figures = torch.zeros(3, device=world.device)
        for number, (place, piece) in enumerate(passes):
            reseed(recipe.seed, "noise", self.state.images, world.rank, number)
            share = counts * world.size * len(piece) / (len(of_world) * recipe.draws)
            last = number == len(passes) - 1
            with nullcontext() if last else world.no_sync(self.objective), self.state.approximation.sampled_params():
                factors_3 = torch.tensor([weight, share, 1 / len(passes)], device=world.device)
                loss, of_pass = self.objective(*self._examples(piece, place), factors_3)
                figures += of_pass
                if last:
                    arrived = self.world.mean_async(figures)
                loss.backward()
        return arrived

    def _examples(self, index: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """Normalised and augmented images, and what they are, on this rank's device."""
        examples, device = self.dataset.train[index], self.world.device
        generator = generator_for(self.recipe.seed, "augmentation", self.state.images, self.world.rank, place)
        pixels_NHWC = self.augment(examples.pixels.to(device), generator)
        x_NCHW, labels_N = self.dataset.pixels.normalise(pixels_NHWC), examples.labels.to(device)
        if self.teacher is None:
            return x_NCHW, labels_N
        generator = generator_for(self.recipe.seed, "teacher", self.state.images, self.world.rank, place)
        return x_NCHW, self.teacher.targets(x_NCHW, labels_N, generator)
