"""Score weights by Bayesian model reduction: the change of free energy without the weight.

Source: Friston and Penny 2011; Beckers et al. 2022.

With the prior N(0, σ_p²) reduced to one of variance r², Π_i = 1/r², P_f = 1/σ², P_i = P_f + Π_i − 1/σ_p² and
μ_i = P_f μ/P_i, the variational free energy changes by

    ΔF = ½ (μ² P_f − μ_i² P_i − ln(Π_i P_f σ_p² / P_i)),

which for r → 0, a point mass at zero, is ½ (μ²/σ² − ln(σ_p²/σ²)). Below zero the model evidence is higher without the
weight: there is no threshold to tune.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pruning.criteria.inputs import Inputs
from training.bayesian.posterior import GaussianWeight


def score(weight: GaussianWeight, inputs: Inputs) -> Tensor:
    """Return ΔF in nats of reducing each weight's prior to a point mass at zero."""
    return 0.5 * ((weight.mean / weight.scale).square() - 2 * (inputs.prior_scale / weight.scale).log())


def free_energy_change(weight: GaussianWeight, prior_scale: float, reduced_scale: float) -> Tensor:
    """Return ΔF in nats of reducing each prior N(0, prior_scale²) to N(0, reduced_scale²), 0 < reduced ≤ prior."""
    mean, scale = weight.mean.double(), weight.scale.double()
    posterior, reduced, prior = scale**-2, reduced_scale**-2, prior_scale**-2
    both = posterior + reduced - prior
    shifted = posterior * mean / both
    return 0.5 * (mean**2 * posterior - shifted**2 * both - (reduced * posterior / (prior * both)).log())


def redundant_share(weights: list[GaussianWeight], prior_scale: float) -> float:
    """Return the share of weights whose removal raises the model evidence."""
    inputs = Inputs(prior_scale, torch.Generator())
    scores = torch.cat([score(weight, inputs).flatten() for weight in weights])
    return float((scores <= 0).double().mean())
