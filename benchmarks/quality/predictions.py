"""Compute, and keep in files, the logits of every network that the comparison of peers is made of.

    FOLDER/NETWORK-SET.pt    logits float32 [S, N, K]

Sets are `calibration`, `test`, `ood` and one for each corruption and strength, such as `noise-3`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from benchmarks.quality.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from pruning.graph.forward import draw_logits, served_draws
from pruning.graph.network import Network, random_tensors
from training.data.dataset import Dataset, Images
from training.progress import Stage

OOD_NAME = "cifar-100"
CORRUPTED = [f"{corruption}-{strength}" for corruption in CORRUPTIONS for strength in STRENGTHS]
# Images uint8 [N, H, W, C] and a number of draws to logits float32 [S, N, K].
Draw: TypeAlias = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Extent:
    """Numbers of images of each set, and of draws; corrupted sets are of so many test images each."""

    test: int = 10_000
    ood: int = 2_000
    corrupted: int = 1_000
    draws: int = 32
    corrupted_draws: int = 8


@dataclass(frozen=True)
class Predictions:
    """Logits of one network, by the name of the set; `passes` is what a draw costs, in passes of the dense network."""

    logits: Mapping[str, Tensor]
    passes: float


@dataclass(frozen=True)
class Predictor:
    """Predict the sets of a data set, and keep the logits in `folder`."""

    dataset: Dataset
    extent: Extent
    folder: Path

    @property
    def test(self) -> Images:
        """Return the test images."""
        return self.dataset.test.spread(self.extent.test)

    @property
    def to_corrupt(self) -> Images:
        """Return the test images that are corrupted, before they are."""
        return self.dataset.test.spread(self.extent.corrupted)

    def sets(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each set's name and its images, uint8 [N, H, W, C]."""
        yield "calibration", self.dataset.calibration.pixels
        yield "test", self.test.pixels
        yield "ood", self.dataset.out_of_distribution[OOD_NAME][: self.extent.ood]
        some_NHWC = self.to_corrupt.pixels.numpy()
        for name in CORRUPTED:
            corruption, strength = name.split("-")
            yield name, torch.from_numpy(corrupt(some_NHWC, corruption, int(strength)))

    def predict(self, name: str, draw: Draw, *, random: bool, passes: float) -> Predictions:
        """Compute the logits of all sets, or read those that an earlier process kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        logits = {}
        for kind, images_NHWC in self.sets():
            file = self.folder / f"{name}-{kind}.pt"
            if not file.exists():
                num_draws = self.extent.corrupted_draws if kind in CORRUPTED else self.extent.draws
                partial = file.with_suffix(".partial")
                torch.save(draw(images_NHWC, num_draws if random else 1), partial)
                partial.rename(file)
            logits[kind] = torch.load(file)
        return Predictions(logits, passes)

    def predict_network(self, name: str, network: Network, dense: int) -> Predictions:
        """Compute the logits of the draws that the service makes; `dense` are the multiply-adds of a dense pass."""
        random = network.output in random_tensors(network)

        def draw(images_NHWC: Tensor, num_draws: int) -> Tensor:
            (draws,) = served_draws([network], num_draws)
            with Stage(f"predicting {name}", num_draws * len(images_NHWC)) as stage:
                return draw_logits(network, images_NHWC, draws, stage)

        return self.predict(name, draw, random=random, passes=network.multiply_adds / dense)


def mixture(members: list[Predictions], num_draws: int | None = None) -> Predictions:
    """Combine members, whose draws take turns; by default as many draws in all as one member has, or one of each."""
    logits = {}
    for kind in members[0].logits:
        each = max(1, (num_draws or len(members[0].logits[kind])) // len(members))
        logits[kind] = torch.cat([member.logits[kind][:each] for member in members])
    return Predictions(logits, sum(member.passes for member in members) / len(members))
