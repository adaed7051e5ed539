"""Distil a trained posterior's predictions into another network (Hinton et al. 2015).

The teacher is drawn once per batch (Korattikara et al. 2015). Cross-entropy is linear in its target, so the expected
gradient over draws is that of the teacher's predictive distribution, at the cost of one pass.

Teacher and pupil see the same augmented image (Beyer et al. 2022), so predictions for images as they are would not do.
Instead order and augmentation of an epoch come back after `TEACHER_EPOCHS` epochs, and the teacher's predictions of
these are kept: later epochs, rounds and levels cost no pass of the teacher. They take 4 bytes per image, class, epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from training.bayesian.posterior import Posterior
from training.precision import autocast
from training.randomness import generator_for

# Epochs with an order and an augmentation of their own: an image has so many variants, and targets of so many draws.
TEACHER_EPOCHS = 8


@dataclass(frozen=True)
class Teacher:
    """A posterior as teacher: `share` is its part of each target, `plain` its architecture.

    `known` are its probabilities [N, K] by the counters of a batch, for one recipe.
    """

    plain: nn.Module
    posterior: Posterior
    share: float
    precision: str = "float32"
    known: dict[tuple[int, ...], Tensor] = field(default_factory=dict, repr=False)

    def targets(self, x_NCHW: Tensor, labels_N: Tensor, seed: int, *counters: int) -> Tensor:
        """Return targets float32 [N, K]: probabilities of normalised images under one draw, mixed with the labels.

        `counters` (images seen, rank, micro-batch) name the batch: equal counters, equal images.
        """
        if counters not in self.known:
            self.known[counters] = self._probabilities(x_NCHW, generator_for(seed, "teacher", *counters))
        p_NK = self.known[counters]
        return torch.lerp(F.one_hot(labels_N, p_NK.shape[1]).float(), p_NK, self.share)

    @torch.no_grad()
    def _probabilities(self, x_NCHW: Tensor, generator: torch.Generator) -> Tensor:
        self.plain.eval()
        state = {name: tensor.to(x_NCHW.device) for name, tensor in self.posterior.draw(generator).items()}
        with autocast(x_NCHW.device, self.precision):
            logits_NK = functional_call(self.plain, state, (x_NCHW,))
        p_NK: Tensor = logits_NK.float().softmax(1)
        return p_NK
