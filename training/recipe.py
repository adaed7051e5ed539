"""Define a run by its recipe: two runs of one recipe on equally many ranks end bit-equal."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from training.errors import RecipeError

LEARNING_RATE_SCALINGS = ("linear", "sqrt", "none")
PRECISIONS = ("float32", "bfloat16")
ALL_LAYERS, AUTO_LAYERS = "all", "auto"
# Name, in the folder of a run, of the run of the plain network from which its posterior starts.
PLAIN = "plain"
LAST_LAYERS = re.compile(r"last:([1-9]\d{0,3})")


@dataclass(frozen=True)
class Recipe:
    """Settings of a run, frozen and checked; raises RecipeError for a value out of range.

    `batch_size` is per rank and step, split into `accumulation` micro-batches; every micro-batch passes through `draws`
    networks. `learning_rate` is the peak on one rank; `scaling` selects its growth with the number of ranks. It rises
    over the first `rise` of the run, then falls to zero along a cosine. `prior_scale` and `initial_scale` are standard
    deviations of the prior and of the initial posterior. `beta` weights the KL divergence after `warmup_epochs`; below
    1 the posterior is cold. `random` is `all`, `last:N` for the last N layers with weights, where others are
    deterministic under the prior's weight decay, or `auto` for the fewest that suffice, chosen in training.
    `hessian_left` is the share of IVON's initial Hessian that is left at the end of the run; `memory_images`, after
    which 1/e of it is left, replaces it. `init_from` is a trained plain network to start from; the initial scale in
    Bayesian layers is then `initial_share` of each weight's magnitude (MOPED, Krishnan et al. 2020). `split_seed`
    chooses the calibration set, None that of `seed`: members of a mixture share it. With `pretrained` all layers but
    the head start from weights that were published for other classes, those in `init_from` or the architecture's own.
    `trained` is `all`, or `last:N` for the last N layers with weights: what comes before them stays as it is.
    `plain_share` is the share of the epochs that train a plain network first, at `plain_learning_rate`; the posterior
    starts from it, as from one in `init_from`. `small_share` is the share of the epochs, the first ones, of the plain
    network if there is one, that see images of three quarters of their side (progressive resizing, Howard 2018);
    `averaged_epochs` the number of last epochs over whose steps a plain network's weights are averaged (Izmailov et al.
    2018).
    """

    data: str = "digits"
    architecture: str = "convnet"
    estimator: str = "flipout"
    epochs: int = 30
    batch_size: int = 32
    accumulation: int = 1
    draws: int = 1
    learning_rate: float = 0.005
    scaling: str = "linear"
    rise: float = 0.05
    prior_scale: float = 0.1
    initial_scale: float = 0.02
    beta: float = 0.03
    warmup_epochs: float = 5.0
    random: str = "all"
    hessian_left: float = 0.01
    memory_images: float | None = None
    augmentation: str = "none"
    precision: str = "float32"
    seed: int = 0
    limit: int | None = None
    image_size: int | None = None
    init_from: str | None = None
    initial_share: float = 0.1
    split_seed: int | None = None
    pretrained: bool = False
    trained: str = "all"
    plain_share: float = 0.0
    plain_learning_rate: float = 0.2
    small_share: float = 0.0
    averaged_epochs: int = 0

    def __post_init__(self) -> None:
        _check(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _check(self.batch_size >= 1, "batch size", self.batch_size, "at least 1")
        _check(1 <= self.accumulation <= self.batch_size, "accumulation", self.accumulation, "from 1 to the batch size")
        _check(self.draws >= 1, "draws", self.draws, "at least 1")
        _check(0 < self.learning_rate < math.inf, "learning rate", self.learning_rate, "above 0")
        _check(self.scaling in LEARNING_RATE_SCALINGS, "scaling", self.scaling, ", ".join(LEARNING_RATE_SCALINGS))
        _check(0 < self.rise < 1, "rise", self.rise, "between 0 and 1")
        _check(0 < self.prior_scale < math.inf, "prior scale", self.prior_scale, "above 0")
        _check(0 < self.initial_scale < math.inf, "initial scale", self.initial_scale, "above 0")
        _check(0 <= self.beta <= 1, "beta", self.beta, "from 0 to 1")
        _check(0 <= self.warmup_epochs < math.inf, "warm-up", self.warmup_epochs, "at least 0 epochs")
        _check(0 < self.initial_share < math.inf, "initial share", self.initial_share, "above 0")
        random_count(self.random)
        _check(0 < self.hessian_left < 1, "initial Hessian left", self.hessian_left, "between 0 and 1")
        memory = self.memory_images
        _check(memory is None or 0 < memory < math.inf, "memory", memory, "above 0 images")
        _check(self.precision in PRECISIONS, "precision", self.precision, " or ".join(PRECISIONS))
        _check(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0")
        split_seed = self.split_seed
        _check(split_seed is None or 0 <= split_seed < 2**63, "split seed", split_seed, "a whole number from 0")
        _check(self.limit is None or self.limit >= 4, "limit", self.limit, "at least 4 images")
        trained, random = self.trained_count, random_count(self.random)
        if trained is not None and not (self.pretrained or self.init_from):
            raise RecipeError(
                f"training {self.trained} alone needs weights for the others: --pretrained or --init-from"
            )
        if trained is not None and random is not None and random > trained:
            raise RecipeError(f"random layers must be trained: expected at most {self.trained}, got {self.random}")
        _check(self.image_size is None or self.image_size >= 8, "image size", self.image_size, "at least 8 pixels")
        _check(0 <= self.plain_share < 1, "plain share", self.plain_share, "from 0 to below 1")
        rate = self.plain_learning_rate
        _check(0 < rate < math.inf, "plain learning rate", rate, "above 0")
        _check(0 <= self.small_share < 1, "small share", self.small_share, "from 0 to below 1")
        _check(self.averaged_epochs >= 0, "averaged epochs", self.averaged_epochs, "at least 0")
        if self.averaged_epochs and not (self.plain_share or self.estimator == "none"):
            raise RecipeError(
                f"weights are averaged of a plain network only, not under {self.estimator}: leave averaged epochs at 0"
            )
        if self.plain_share and (self.init_from is not None or self.pretrained or self.estimator == "none"):
            raise RecipeError(
                "a posterior starts from a plain network that is trained first (plain share above 0), or from trained "
                "weights (--init-from, --pretrained); a plain network itself has no such start"
            )

    @property
    def trained_count(self) -> int | None:
        """Return how many of the last layers are trained, None for all."""
        match = LAST_LAYERS.fullmatch(self.trained)
        _check(match is not None or self.trained == ALL_LAYERS, "trained layers", self.trained, "all or last:N")
        return int(match[1]) if match else None

    @property
    def data_seed(self) -> int:
        """Return the seed of the split into training and calibration set."""
        return self.seed if self.split_seed is None else self.split_seed

    @property
    def plain_epochs(self) -> int:
        """Return the number of epochs that train a plain network first; one is left for the posterior."""
        return min(round(self.plain_share * self.epochs), self.epochs - 1)

    @property
    def posterior_epochs(self) -> int:
        """Return the number of epochs that train what the run is named for."""
        return self.epochs - self.plain_epochs

    @property
    def small_epochs(self) -> int:
        """Return the number of epochs that see smaller images; a posterior that starts from a plain one has none."""
        return round(self.small_share * self.epochs)

    def plain_phase(self) -> Recipe:
        """Return the recipe of the plain network from which the posterior starts."""
        return replace(
            self,
            estimator="none",
            epochs=self.plain_epochs,
            learning_rate=self.plain_learning_rate,
            warmup_epochs=0.0,
            draws=1,
            random=ALL_LAYERS,
            plain_share=0.0,
        )

    def posterior_phase(self, run: Path) -> Recipe:
        """Return the recipe of what follows it in the folder `run`: all of the recipe where there is no such start."""
        if not self.plain_epochs:
            return replace(self, plain_share=0.0, averaged_epochs=self.averaged_epochs * (self.estimator == "none"))
        start: dict[str, Any] = {"init_from": str(run / PLAIN), "plain_share": 0.0}
        return replace(self, epochs=self.posterior_epochs, small_share=0.0, averaged_epochs=0, **start)

    def learning_rate_at(self, progress: float, world_size: int = 1, hold: float = 0.0) -> float:
        """Return the learning rate at `progress` of the run, from 0 to 1; the peak is held up to progress `hold`.

        On many ranks it rises from the rate of a single rank (Goyal et al. 2017).
        """
        factor = {"linear": float(world_size), "sqrt": math.sqrt(world_size), "none": 1.0}[self.scaling]
        if progress < self.rise:
            share = max(progress / self.rise, 1e-2)
            return self.learning_rate * share * (1 + (factor - 1) * share)
        start = max(self.rise, hold)
        fallen = 0.0 if start >= 1 else max(0.0, progress - start) / (1 - start)
        return self.learning_rate * factor * 0.5 * (1 + math.cos(math.pi * fallen))

    def beta_at(self, epochs_done: float) -> float:
        """Return the weight of the KL divergence: linear from zero during warm-up, then `beta`."""
        return self.beta if epochs_done >= self.warmup_epochs else self.beta * epochs_done / self.warmup_epochs

    def hessian_memory(self, train_size: int) -> float:
        """Return the images after which 1/e is left of IVON's initial Hessian."""
        if self.memory_images is not None:
            return self.memory_images
        return train_size * self.posterior_epochs / -math.log(self.hessian_left)

    def changed(self, **changes: Any) -> Recipe:
        """Return the recipe with every change that is not None."""
        return replace(self, **{key: value for key, value in changes.items() if value is not None})

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """Build a recipe from JSON values; raise RecipeError for unknown keys and invalid values."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise RecipeError(f"the recipe has unknown settings: {', '.join(sorted(unknown))}")
        try:
            return cls(**values)
        except TypeError as error:
            raise RecipeError(f"the recipe has settings of the wrong type: {error}") from error


def random_count(random: str) -> int | None:
    """Return N of `last:N`, None for `all` and `auto`; raise RecipeError for any other text."""
    match = LAST_LAYERS.fullmatch(random)
    _check(match is not None or random in (ALL_LAYERS, AUTO_LAYERS), "random layers", random, "all, auto or last:N")
    return int(match[1]) if match else None


def _check(valid: bool, name: str, value: object, expected: str) -> None:
    if not valid:
        raise RecipeError(f"{name} must be {expected}, got {value}")
