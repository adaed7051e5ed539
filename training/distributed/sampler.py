"""Which images each rank sees at each step.

One epoch is one permutation of the training set, taken in batches for the whole world; each rank takes every
world-th image of a batch. So an epoch visits each image exactly once whatever the number of ranks, and where a run
stands is one number: how many images the world has seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.errors import RecipeError
from training.randomness import generator_for


@dataclass(frozen=True)
class BatchSampler:
    """`batch_size` is that of one rank; a step of the world sees `batch_size * world_size` images."""

    train_size: int
    batch_size: int
    world_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.train_size < self.world_size:
            raise RecipeError(f"{self.world_size} ranks need at least as many training images, found {self.train_size}")

    def permutation(self, epoch: int) -> Tensor:
        """The permutation of one epoch, int64 [train_size]."""
        return torch.randperm(self.train_size, generator=generator_for(self.seed, "order", epoch))

    def world_batch(self, order: Tensor, seen: int) -> Tensor:
        """Indices of the images that all ranks together see once `seen` images of the epoch are done.

        A rest that is too small for a batch of its own joins the one before it.
        """
        end = seen + self.batch_size * self.world_size
        return order[seen:] if self.train_size - end < self._min_remainder else order[seen:end]

    def steps_taken(self, images: int) -> int:
        """How many steps the world has taken when it has seen `images` images."""
        batch = self.batch_size * self.world_size
        full, rest = divmod(self.train_size, batch)
        of_epoch = max(1, full + (rest >= self._min_remainder))
        epochs, seen = divmod(images, self.train_size)
        return epochs * of_epoch + seen // batch

    @property
    def _min_remainder(self) -> int:
        """The smallest rest: two images a rank where batches have as many; one may be too little to normalise."""
        return min(2, self.batch_size) * self.world_size

    def rank_batch(self, of_world: Tensor, rank: int) -> Tensor:
        """The part of a world's batch that one rank sees.

        It is empty only where a run goes on with more ranks than images are left of its epoch.
        """
        return of_world[rank :: self.world_size]
