"""What the loop trains, whatever the estimator: a network on its way to a posterior, and its optimiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.bayesian.posterior import Posterior


class Approximation(ABC):
    """`module` is in training from its first step; `optimizer` holds everything else that a checkpoint needs."""

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.module, self.optimizer = module, optimizer

    @contextmanager
    def sampled_params(self) -> Iterator[None]:
        """Within this, one forward and one backward pass of `module` are those of one draw."""
        yield

    def penalty(self) -> Tensor:
        """KL(q‖p) in nats, to be part of the loss; zero where the optimiser carries the prior."""
        return torch.zeros(())

    def divergence(self) -> float:
        """KL(q‖p) in nats, for people, where it is no part of the loss; it may lag some steps behind."""
        return 0.0

    @property
    def synchronised(self) -> bool:
        """Whether all that this rank knows is in the state of module and optimiser, the same on every rank."""
        return True

    @abstractmethod
    def posterior(self) -> Posterior:
        """The posterior as it stands, detached and on the CPU."""

    @abstractmethod
    def restore(self, posterior: Posterior) -> None:
        """Stand at `posterior`; weights that are zero there stay so.

        Raises ConversionError where it is of another network.
        """
