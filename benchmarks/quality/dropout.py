"""Train and draw the peer MC dropout (Gal and Ghahramani 2016): dropout that stays on in prediction.

Activations are dropped before the second convolution of each residual block (Zagoruyko and Komodakis 2016) and before
the head. Training starts from a plain network, as our posteriors do, and goes on for as many epochs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.architectures.resnet20 import Block
from training.bayesian.posterior import Posterior
from training.data.dataset import Dataset
from training.distributed.world import World
from training.evaluation.batch_statistics import with_batch_statistics
from training.evaluation.prediction import batches
from training.randomness import reseed
from training.recipe import Recipe
from training.trainer.initialization import fresh_network, initial_network
from training.trainer.loop import LoopOptions, TrainState, fit
from training.trainer.train import approximation

# The rate of Wide-ResNets is 0.3; narrow networks lose more by dropping.
RATE = 0.1


def add_dropout(network: nn.Module) -> nn.Module:
    """Drop inputs of some layers in each pass, in training and in evaluation; the state stays as it is."""

    def drop(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        return (F.dropout(inputs[0], RATE, training=True),)

    for module in network.modules():
        if isinstance(module, Block):
            module.conv2.register_forward_pre_hook(drop)
        elif isinstance(module, nn.Linear):
            module.register_forward_pre_hook(drop)
    return network


def train_dropout(recipe: Recipe, dataset: Dataset, options: LoopOptions, path: Path) -> Posterior:
    """Train by a plain network's recipe, with dropout, or read what was trained into `path` before."""
    if not path.exists():
        alone = World(0, 1, torch.device("cpu"))
        plain = add_dropout(initial_network(recipe, dataset))
        state = TrainState(approximation(replace(recipe, estimator="none"), dataset, alone, plain))
        fit(state, dataset, recipe, alone, name="training with dropout", options=options)
        fresh = add_dropout(fresh_network(recipe, dataset))
        with_batch_statistics(fresh, state.approximation.posterior(), dataset).save(path)
    return Posterior.load(path)


@torch.no_grad()
def dropout_logits(
    plain: nn.Module, trained: Posterior, dataset: Dataset, images_NHWC: Tensor, num_draws: int
) -> Tensor:
    """Return logits float32 [S, N, K]: every image has masks of its own in each draw."""
    network = add_dropout(plain).eval()
    network.load_state_dict(trained.mean())
    reseed(0, "dropout")
    draws = [
        torch.cat([network(dataset.pixels.normalise(x_NHWC)) for x_NHWC in batches(images_NHWC)])
        for _ in range(num_draws)
    ]
    return torch.stack(draws)
