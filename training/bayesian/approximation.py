"""The interface of the training loop to every estimator: a network, its optimiser and its posterior."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.bayesian.posterior import Posterior

# Parts of a Bayesian layer's weight, each a parameter of the weight's shape.
PARTS_OF_WEIGHT = ("mean", "log_scale")


class Approximation(ABC):
    """A variational approximation in training.

    The state of `module` and `optimizer` is all that a checkpoint needs.
    """

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.module, self.optimizer = module, optimizer

    @contextmanager
    def sampled_params(self) -> Iterator[None]:
        """Run one forward and one backward pass of `module` within this context on one draw of the weights."""
        yield

    def penalty(self) -> Tensor:
        """Return KL(q‖p) in nats as a term of the loss; zero where the optimiser applies the prior."""
        return torch.zeros(())

    def divergence(self) -> float:
        """Return KL(q‖p) in nats for logs, where it is no term of the loss; it may lag some steps behind."""
        return 0.0

    def figures(self) -> dict[str, float]:
        """Return figures of the posterior's progress, by name, for the log of an epoch."""
        return {}

    @property
    def synchronised(self) -> bool:
        """Return whether the state of module and optimiser is complete and equal on every rank."""
        return True

    def carry_over(self, earlier: Approximation, cut: Callable[[str, Tensor], Tensor]) -> None:
        """Continue with the optimiser's state of an `earlier` approximation, of which something was pruned since.

        `cut` takes a parameter's name in the plain network and a tensor of its shape, and returns what is left of it.
        """
        names = {parameter: name for name, parameter in earlier.module.named_parameters()}
        order = [_plain_name(names[each]) for group in earlier.optimizer.param_groups for each in group["params"]]
        state = earlier.optimizer.state_dict()
        left = {
            number: {key: cut(order[number], part) if _is_shaped(part) else part for key, part in parts.items()}
            for number, parts in state["state"].items()
        }
        self.optimizer.load_state_dict(state | {"state": left})

    @abstractmethod
    def fix(self, names: Collection[str]) -> None:
        """Make these weights deterministic: they stay at their means and train on, under the prior as weight decay.

        They have scale zero in the posterior.
        """

    @abstractmethod
    def posterior(self) -> Posterior:
        """Return the current posterior, detached and on the CPU."""

    @abstractmethod
    def restore(self, posterior: Posterior) -> None:
        """Continue from `posterior`; weights with mean and scale zero stay pruned, layers without scales deterministic.

        Raises ConversionError for the posterior of another network.
        """


def _plain_name(name: str) -> str:
    path, _, part = name.rpartition(".")
    return f"{path}.weight" if part in PARTS_OF_WEIGHT else name


def _is_shaped(part: object) -> bool:
    """Return whether a part of an optimiser's state has its parameter's shape, and is no counter."""
    return isinstance(part, Tensor) and part.dim() > 0
