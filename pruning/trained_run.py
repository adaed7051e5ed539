"""Load a finished training run, the input of pruning."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from pruning.criteria.free_energy import redundant_share
from pruning.errors import LevelError
from pruning.granularity.mask import weights_left
from pruning.granularity.narrowing import narrow_module
from pruning.graph.network import Network
from pruning.graph.trace import GraphTemplate
from pruning.level import Level
from training.architectures import ARCHITECTURES, architecture
from training.bayesian.posterior import Posterior
from training.data import SOURCES, data_name, load_dataset
from training.data.dataset import Dataset
from training.errors import RunError
from training.evaluation.batch_statistics import with_batch_statistics
from training.recipe import Recipe
from training.trainer.distillation import Teacher
from training.trainer.run_dir import Run


@dataclass(frozen=True, repr=False)
class TrainedRun:
    """A finished run: its recipe, its data set and its dense posterior.

    `hessian_left` is the share of IVON's initial Hessian left in the median, None for other estimators. `data_name` is
    that of the data set, or of the folder with the pictures. `own` is the user's plain network where the recipe's
    architecture is none by name, and `quality` are the figures on the test set.
    """

    recipe: Recipe
    dataset: Dataset
    posterior: Posterior
    world_size: int
    hessian_left: float | None = None
    data_name: str = ""
    own: nn.Module | None = None
    quality: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        recipe, measured = self.recipe, ""
        if self.quality is not None:
            measured = f", accuracy {self.quality['accuracy']:.2%} of {self.quality['images']:,} test images"
        return f"<{recipe.architecture} by {recipe.estimator} on {recipe.data}{measured}>"

    @classmethod
    def load(
        cls, run: Run, data_dir: Path | None = None, dataset: Dataset | None = None, own: nn.Module | None = None
    ) -> TrainedRun:
        """Read a finished run and its data set, from `data_dir` if the folder has moved, unless `dataset` is it.

        Batch statistics are re-estimated.

        Raises PosteriorError if the posterior does not fit the network, the recipe's or the user's `own`, and RunError
        where a run of a user's data or network is read without these.
        """
        facts, recipe, posterior = run.facts(), run.recipe(), run.posterior()
        missing = "data" if dataset is None and recipe.data not in SOURCES else ""
        missing = "a network" if own is None and recipe.architecture not in ARCHITECTURES else missing
        if missing:
            raise RunError(
                f"the run in {run.folder} is of {missing} that only the program has that trained it: "
                "prune it there, by slimbayes.fit(…, out=…) and slimbayes.prune"
            )
        folder = data_dir or run.data_dir()
        if dataset is None:
            seed = recipe.data_seed
            dataset = load_dataset(recipe.data, folder, seed=seed, limit=recipe.limit, image_size=recipe.image_size)
        name, left = data_name(recipe.data, folder), run.hessian_left()
        trained = cls(recipe, dataset, posterior, facts["world_size"], left, name, own, run.quality())
        trained.template.check_dense(posterior)
        return replace(trained, posterior=trained.with_batch_statistics(posterior))

    @property
    def architecture(self) -> nn.Module:
        """Build the dense, deterministic module of the run's architecture, or copy the user's own."""
        if self.own is not None:
            return deepcopy(self.own)
        return architecture(self.recipe.architecture, self.dataset.pixels.channels, len(self.dataset.classes))

    @cached_property
    def template(self) -> GraphTemplate:
        """Trace the run's architecture, once."""
        return GraphTemplate.trace(self.architecture, self.dataset.pixels)

    def with_batch_statistics(self, posterior: Posterior) -> Posterior:
        """Re-estimate the running statistics of a posterior of this architecture, dense or narrowed."""
        return with_batch_statistics(self.module(posterior), posterior, self.dataset)

    def network(self, posterior: Posterior) -> Network:
        """Build the graph of a posterior of this architecture, dense or narrowed."""
        return self.template.bind(posterior)

    def module(self, posterior: Posterior) -> nn.Module:
        """Build the deterministic module with the posterior's widths."""
        return narrow_module(self.architecture, posterior)

    @cached_property
    def teacher(self) -> Teacher:
        """Return the dense posterior as teacher, whose predictions are kept for all that is pruned."""
        return Teacher(self.architecture, self.posterior, 1.0, self.recipe.precision)

    @cached_property
    def weights(self) -> int:
        """Count the random weights of the dense network."""
        return weights_left(self.posterior)

    @cached_property
    def multiply_adds(self) -> int:
        """Count the multiply-adds of one draw of the dense network for one image."""
        return self.network(self.posterior).multiply_adds

    def auto_level(self) -> Level:
        """Return the level `auto`, which removes every weight that the model evidence is higher without.

        Raises LevelError if fewer than 1 % or more than 99 % of the weights are redundant.
        """
        share = redundant_share(list(self.posterior.weights.values()), self.recipe.prior_scale)
        amount = round(100 * share)
        if not 1 <= amount <= 99:
            raise LevelError(
                f"auto is not possible: the evidence is better without {share:.1%} of the weights, expected 1% to 99%"
            )
        return Level("p", amount)
