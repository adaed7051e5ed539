"""The training loop of one rank, from a fresh network, a checkpoint or another posterior."""

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
from training.data.dataset import Dataset
from training.data.transforms import shrink
from training.distributed.gradient_sync import REDUCTIONS, GradientSync
from training.distributed.sampler import BatchSampler
from training.distributed.world import World
from training.errors import DivergedError, RecipeError
from training.precision import autocast
from training.progress import Stage
from training.randomness import generator_for, reseed
from training.recipe import Recipe
from training.trainer.distillation import TEACHER_EPOCHS, Teacher


@dataclass(frozen=True)
class Step:
    """Figures of one step over all ranks: `size` images of the step, `images` since the start."""

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
    """An approximation in training, and the number of images seen by all ranks."""

    approximation: Approximation
    images: int = 0


@dataclass(frozen=True)
class LoopOptions:
    """Options that change the computation of a run only by rounding; raises RecipeError for an invalid one."""

    compile: bool = False
    reduction: str = "bfloat16"

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise RecipeError(f"unknown reduction {self.reduction!r}: there is {', '.join(REDUCTIONS)}")
        if self.compile and shutil.which(os.environ.get("CXX", "g++")) is None:
            raise RecipeError("compiling the network needs a C++ compiler: install g++, or leave out --compile")


class _Objective(nn.Module):
    """Network and loss in one forward pass, so that DistributedDataParallel sees every gradient."""

    def __init__(self, approximation: Approximation, precision: str) -> None:
        super().__init__()
        self.module = approximation.module
        self.penalty, self.precision = approximation.penalty, precision

    def forward(self, x_NCHW: Tensor, targets: Tensor, factors_3: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, and data term, accuracy and penalty; targets are labels [N] or probabilities [N, K].

        The factors are the weight of the KL divergence, the share of these examples, and the part of this pass in its
        step. They are passed as a tensor, since a change of plain numbers would recompile a compiled network.
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
    hold_epochs: int = 0,
    until: int | None = None,
    after_step: Callable[[Step], None] = lambda step: None,
) -> None:
    """Train `state` in place for the recipe's epochs, or up to epoch `until`.

    The learning rate keeps its peak up to epoch `hold_epochs`, and then falls along a cosine.
    `after_step` is called on every rank after each step. Raises DivergedError if the loss is not finite.
    """
    loop = TrainLoop(state, dataset, recipe, world, options, teacher, hold_epochs)
    started, already = time.monotonic(), state.images
    last = loop.total if until is None else loop.train_size * until
    with Stage(name, loop.total, done=already, quiet=not world.is_leader) as stage:
        while state.images < last:
            step = loop.step()
            after_step(step)
            rate = (state.images - already) / (time.monotonic() - started)
            figures = f"loss {step.loss:.3f}, accuracy {step.accuracy:.3f}, KL {step.kl:,.0f}, {rate:,.0f} images/s"
            stage.advance(step.size, f"epoch {step.epoch + 1}/{recipe.epochs}, {figures}")


class TrainLoop:
    """Training steps, each a function of the state and the number of images seen."""

    def __init__(
        self,
        state: TrainState,
        dataset: Dataset,
        recipe: Recipe,
        world: World,
        options: LoopOptions,
        teacher: Teacher | None = None,
        hold_epochs: int = 0,
    ) -> None:
        self.state, self.dataset, self.recipe, self.world = state, dataset, recipe, world
        self.teacher, self.hold = teacher, hold_epochs / recipe.epochs
        self.train_size = len(dataset.train)
        self.total = self.train_size * recipe.epochs
        self.batches = BatchSampler(self.train_size, recipe.batch_size, world.size, recipe.seed)
        self.augment = dataset.augmentation(recipe.augmentation)
        objective: nn.Module = _Objective(state.approximation, recipe.precision)
        if options.compile:
            # Keeps the random draws equal to those without compilation.
            objective = torch.compile(objective, options={"fallback_random": True})  # type: ignore[assignment]
        self.gradient_sync = GradientSync(options.reduction, world.size)
        self.objective = world.wrap(objective, self.gradient_sync)
        self.objective.train()
        self.order = self.batches.permutation(self._data_epoch())
        if world.size > 1:
            self._order_buckets()

    def _order_buckets(self) -> None:
        """Run one pass without an update, after which DistributedDataParallel keeps the order of its buckets.

        Otherwise the first step of a resumed run would sum gradients in another order than an uninterrupted run.
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
        """Take one step, and return its figures."""
        state, size = self.state, self.train_size
        epoch, seen = divmod(state.images, size)
        if seen == 0:
            self.order = self.batches.permutation(self._data_epoch())
        world_batch = self.batches.world_batch(self.order, seen)
        figures = self._descend(self.batches.rank_batch(world_batch, self.world.rank), world_batch)
        state.images += len(world_batch)
        return Step(len(world_batch), state.images, epoch, state.images % size == 0, *figures)

    def _descend(self, index: Tensor, world_batch: Tensor) -> list[float]:
        """Update the parameters on the images of `index`; return loss, data term, KL and accuracy."""
        state, recipe, optimizer = self.state, self.recipe, self.state.approximation.optimizer
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(state.images / self.total, self.world.size, self.hold)
        optimizer.zero_grad(set_to_none=True)
        weight = recipe.beta_at(state.images / self.train_size) / self.train_size
        figures = self._backward(index, world_batch, weight)
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

    def _backward(self, index: Tensor, world_batch: Tensor, weight: float) -> Callable[[], Tensor]:
        """Compute the mean gradient over ranks; return a function that waits for data term, accuracy and penalty.

        The figures are reduced during the last backward pass. A rank without images takes part with one of zero weight.
        """
        recipe, world, counts = self.recipe, self.world, len(index) > 0
        index = index if counts else world_batch[:1]
        micro_batches = [part for part in index.tensor_split(recipe.accumulation) if len(part)]
        passes = [(place, part) for place, part in enumerate(micro_batches) for _ in range(recipe.draws)]
        figures = torch.zeros(3, device=world.device)
        for number, (place, micro_batch) in enumerate(passes):
            reseed(recipe.seed, "noise", self.state.images, world.rank, number)
            share = counts * world.size * len(micro_batch) / (len(world_batch) * recipe.draws)
            last = number == len(passes) - 1
            with nullcontext() if last else world.no_sync(self.objective), self.state.approximation.sampled_params():
                factors_3 = torch.tensor([weight, share, 1 / len(passes)], device=world.device)
                loss, of_pass = self.objective(*self._examples(micro_batch, place), factors_3)
                figures += of_pass
                if last:
                    wait_for_figures = self.world.mean_async(figures)
                loss.backward()
        return wait_for_figures

    def _data_epoch(self) -> int:
        """Return the epoch whose order and augmentation are used: a teacher's come back, so that it is asked once."""
        epoch = self.state.images // self.train_size
        return epoch if self.teacher is None else epoch % TEACHER_EPOCHS

    def _examples(self, index: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """Return augmented and normalised images, and their targets, on this rank's device."""
        examples, device = self.dataset.train[index], self.world.device
        at = self._data_epoch() * self.train_size + self.state.images % self.train_size
        counters = at, self.world.rank, place
        generator = generator_for(self.recipe.seed, "augmentation", *counters)
        pixels_NHWC = self.augment(examples.pixels.to(device), generator)
        x_NCHW, labels_N = self.dataset.pixels.normalise(pixels_NHWC), examples.labels.to(device)
        if self.state.images < self.recipe.small_epochs * self.train_size:
            x_NCHW = shrink(x_NCHW)
        if self.teacher is None:
            return x_NCHW, labels_N
        return x_NCHW, self.teacher.targets(x_NCHW, labels_N, self.recipe.seed, *counters)
