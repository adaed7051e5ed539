"""What is pruned: a finished run, with its data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn

from pruning.granularity.mask import weights_left
from pruning.granularity.narrowing import fitted
from pruning.graph.network import Network
from pruning.graph.trace import GraphTemplate
from training.architectures import architecture
from training.bayesian.posterior import Posterior
from training.data import load_dataset
from training.data.dataset import Dataset
from training.recipe import Recipe
from training.trainer.run_dir import Run


@dataclass(frozen=True)
class TrainedRun:
    """A recipe, the data that it was trained on, and the dense posterior that came out."""

    recipe: Recipe
    dataset: Dataset
    posterior: Posterior
    world_size: int

    @classmethod
    def of(cls, run: Run, data_dir: Path | None = None) -> TrainedRun:
        """Read a finished run and load its data again, from `data_dir` where they lie elsewhere now.

        Raises PosteriorError where the posterior is not of the recipe's architecture.
        """
        facts, recipe, posterior = run.facts(), run.recipe(), run.posterior()
        folder = data_dir or run.data_dir()
        dataset = load_dataset(recipe.data, folder, seed=recipe.seed, limit=recipe.limit, image_size=recipe.image_size)
        subject = cls(recipe, dataset, posterior, facts["world_size"])
        subject.template.check_dense(posterior)
        return subject

    @property
    def architecture(self) -> nn.Module:
        """The run's plain network, dense."""
        return architecture(self.recipe.architecture, self.dataset.pixels.channels, len(self.dataset.classes))

    def plain(self, posterior: Posterior) -> nn.Module:
        """The run's plain network, as narrow as a posterior."""
        return fitted(self.architecture, posterior)

    @cached_property
    def template(self) -> GraphTemplate:
        """The graph of the run's architecture, traced once."""
        return GraphTemplate.trace(self.architecture, self.dataset.pixels)

    def network(self, posterior: Posterior) -> Network:
        """Build the run's network of a posterior, which may have been narrowed."""
        return self.template.bind(posterior)

    @cached_property
    def weights(self) -> int:
        """Random weights of the dense network."""
        return weights_left(self.posterior)

    @cached_property
    def multiply_adds(self) -> int:
        """Multiply-adds of one draw of the dense network for one image."""
        return self.network(self.posterior).multiply_adds
