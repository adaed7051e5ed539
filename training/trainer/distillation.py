"""Distil a trained posterior's predictions into another network (Hinton et al. 2015).

The teacher is drawn once per batch (Korattikara et al. 2015). Cross-entropy is linear in its target, so the expected
gradient over draws is that of the teacher's predictive distribution, at the cost of one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from training.bayesian.posterior import Posterior
from training.precision import autocast


@dataclass(frozen=True)
class Teacher:
    """A posterior as teacher: `share` is its part of each target, `plain` its architecture."""

    plain: nn.Module
    posterior: Posterior
    share: float
    precision: str = "float32"

    @torch.no_grad()
    def targets(self, x_NCHW: Tensor, labels_N: Tensor, generator: torch.Generator) -> Tensor:
        """Return targets float32 [N, K]: probabilities of normalised images under one draw, mixed with the labels."""
        self.plain.eval()
        state = {name: tensor.to(x_NCHW.device) for name, tensor in self.posterior.draw(generator).items()}
        with autocast(x_NCHW.device, self.precision):
            logits_NK = functional_call(self.plain, state, (x_NCHW,))
        p_NK = logits_NK.float().softmax(1)
        return torch.lerp(F.one_hot(labels_N, p_NK.shape[1]).float(), p_NK, self.share)
