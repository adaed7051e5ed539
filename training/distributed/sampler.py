"""Assign training images to steps and ranks.

An epoch is one permutation of the training set, split into global batches; each rank takes every world-th image of a
batch. So an epoch visits each image exactly once on any number of ranks, and the position of a run is one number: the
images seen by all ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.errors import RecipeError
from training.randomness import generator_for


@dataclass(frozen=True)
class BatchSampler:
    """Batches of one run; `batch_size` is per rank, so a global batch has `batch_size * world_size` images.

    Raises RecipeError for fewer images than ranks.
    """

    train_size: int
    batch_size: int
    world_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.train_size < self.world_size:
            raise RecipeError(f"{self.world_size} ranks need at least as many training images, found {self.train_size}")

    def permutation(self, epoch: int) -> Tensor:
        """Return the permutation of one epoch, int64 [train_size]."""
        return torch.randperm(self.train_size, generator=generator_for(self.seed, "order", epoch))

    def world_batch(self, order: Tensor, seen: int) -> Tensor:
        """Return the indices of the global batch after `seen` images of the epoch.

        A remainder that is too small for a batch of its own joins the last batch.
        """
        end = seen + self.batch_size * self.world_size
        return order[seen:] if self.train_size - end < self._min_remainder else order[seen:end]

    def steps_taken(self, images: int) -> int:
        """Return the number of steps after `images` images of all ranks."""
        epochs, seen = divmod(images, self.train_size)
        return epochs * self.steps_per_epoch + seen // (self.batch_size * self.world_size)

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of global batches in an epoch."""
        full, remainder = divmod(self.train_size, self.batch_size * self.world_size)
        return max(1, full + (remainder >= self._min_remainder))

    @property
    def _min_remainder(self) -> int:
        """Return the smallest remainder: two images per rank, as one may be too few for batch normalisation."""
        return min(2, self.batch_size) * self.world_size

    def rank_batch(self, world_batch: Tensor, rank: int) -> Tensor:
        """Return one rank's part of a global batch.

        It is empty only if a resumed run has more ranks than images left in its epoch.
        """
        return world_batch[rank :: self.world_size]
