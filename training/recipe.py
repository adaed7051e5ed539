"""Everything that decides a run, frozen and checked. Two runs of one recipe on as many ranks end bit-equal."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from training.errors import RecipeError


@dataclass(frozen=True)
class Recipe:
    """Settings of a run.

    `learning_rate` is Adam's at its peak; it rises over the first `rise` of the run and falls to zero like a cosine.
    `prior_scale` and `initial_scale` are standard deviations of prior and starting posterior. `beta` weighs the
    divergence once `warmup_epochs` are over; below 1 the posterior is cold. `batch_size` is that of one rank.
    """

    data: str = "digits"
    architecture: str = "convnet"
    estimator: str = "flipout"
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 0.005
    prior_scale: float = 0.1
    initial_scale: float = 0.02
    beta: float = 0.03
    warmup_epochs: float = 5.0
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        _check(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _check(self.batch_size >= 1, "batch size", self.batch_size, "at least 1")
        _check(0 < self.learning_rate < math.inf, "learning rate", self.learning_rate, "above 0")
        _check(0 < self.prior_scale < math.inf, "prior scale", self.prior_scale, "above 0")
        _check(0 < self.initial_scale < math.inf, "initial scale", self.initial_scale, "above 0")
        _check(0 <= self.beta <= 1, "beta", self.beta, "from 0 to 1")
        _check(0 <= self.warmup_epochs < math.inf, "warm-up", self.warmup_epochs, "at least 0 epochs")
        _check(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0")
        _check(self.limit is None or self.limit >= 4, "limit", self.limit, "at least 4 images")

    def learning_rate_at(self, progress: float) -> float:
        """The learning rate once `progress` of the run, from 0 to 1, is done."""
        rise = 0.05
        if progress < rise:
            return self.learning_rate * max(progress / rise, 1e-2)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))

    def beta_at(self, epochs_done: float) -> float:
        """The weight of the divergence: linear from zero during warm-up, then `beta`."""
        return self.beta if epochs_done >= self.warmup_epochs else self.beta * epochs_done / self.warmup_epochs

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """The recipe with these values; raise RecipeError for unknown keys or values that make no sense."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise RecipeError(f"the recipe has unknown settings: {', '.join(sorted(unknown))}")
        try:
            return cls(**values)
        except TypeError as error:
            raise RecipeError(f"the recipe has settings of the wrong type: {error}") from error


def _check(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise RecipeError(f"{name} must be {expected}, got {value}")


# What suits each data set; a run may change any of it.
SUITED = {
    "digits": Recipe(),
    "cifar10": Recipe(
        data="cifar10", architecture="resnet20", epochs=60, batch_size=128, beta=0.1, learning_rate=0.003
    ),
}


def suited(data: str, **changes: Any) -> Recipe:
    """The recipe that suits a data set, with every change that is not None."""
    return replace(SUITED.get(data, Recipe(data=data)), **{k: v for k, v in changes.items() if v is not None})
