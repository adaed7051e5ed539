"""Choose what a run trains: a whole network on images, or its last layers on features of what is frozen before them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from torch import nn

from training.bayesian.freezing import split_frozen, with_frozen
from training.bayesian.posterior import Posterior
from training.data.dataset import Dataset
from training.data.features import features_of
from training.recipe import Recipe


@dataclass(frozen=True)
class TrainedPart:
    """The layers to train as `network`, and `dataset`, which has what they take; `frozen` is before them in `plain`."""

    network: nn.Module
    dataset: Dataset
    plain: nn.Module
    frozen: nn.Module | None = None

    @classmethod
    def of(cls, plain: nn.Module, dataset: Dataset, recipe: Recipe, *, quiet: bool = False) -> TrainedPart:
        """Choose the recipe's layers of a plain network; where not all are trained, compute features of the images."""
        if recipe.trained_count is None:
            return cls(plain, dataset, plain)
        frozen, network = split_frozen(plain, recipe.trained_count)
        features = features_of(dataset, frozen, recipe.augmentation, recipe.seed, quiet=quiet)
        return cls(network, features, plain, frozen)

    def fresh(self) -> nn.Module:
        """Copy the layers to train, as they are before training."""
        return deepcopy(self.network).train()

    def whole(self, posterior: Posterior) -> Posterior:
        """Return the posterior of the plain network, of a posterior of the trained layers."""
        return posterior if self.frozen is None else with_frozen(self.plain, self.frozen, posterior)
