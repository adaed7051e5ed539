"""Estimate the error of a prediction by few draws, as `service.inference.uncertainty` does for every answer.

Draws come in antithetic pairs, and take turns through the members of a mixture, whose differences are no error.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

# Of Gauss-Hermite quadrature for the standard normal distribution.
NODES, WEIGHTS = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(7))
WEIGHTS = WEIGHTS / WEIGHTS.sum()
TINY = 1e-300


def standard_error(logits_SNK: Tensor, temperature: float, members: int) -> float:
    """Return the standard error of the top probability, mean over images; zero for one draw of each member."""
    p_SNK = (logits_SNK.double() / temperature).softmax(-1)
    if len(p_SNK) == members:
        return 0.0
    top_N = p_SNK.mean(0).argmax(1)
    if len(p_SNK) >= 4 * members and len(p_SNK) % (2 * members) == 0:
        return float(_by_log_odds(p_SNK, top_N, members).mean())
    top_SN = p_SNK[:, torch.arange(len(top_N)), top_N]
    if len(top_SN) >= 4 and len(top_SN) % (2 * members) == 0:
        top_SN = top_SN.reshape(-1, 2, members, len(top_N)).mean(1).flatten(0, 1)
    return float(top_SN.std(0).mean()) / math.sqrt(len(top_SN))


def _by_log_odds(p_SNK: Tensor, top_N: Tensor, members: int) -> Tensor:
    """Return the error [N] by log odds, z = ln p/(1-p), which are nearly normal where p is skewed.

    With P antithetic pairs of each of M members, z = m + e ± d: the mean m of a member, e of a pair, and d ~ N(0, s²).
    """
    count, images = len(p_SNK) // (2 * members), torch.arange(len(top_N))
    others_SN = p_SNK.index_put((torch.arange(len(p_SNK))[:, None], images, top_N), torch.zeros(()).double()).sum(-1)
    log_odds_SN = (p_SNK[:, images, top_N] + TINY).log() - (others_SN + TINY).log()
    pairs_P2MN = log_odds_SN.reshape(count, 2, members, len(top_N))
    mean_PMN, half_PMN = pairs_P2MN.mean(1), (pairs_P2MN[:, 0] - pairs_P2MN[:, 1]) / 2
    between_N = (mean_PMN - mean_PMN.mean(0)).square().sum((0, 1)) / (members * (count - 1))
    reach_1NQ = half_PMN.square().mean((0, 1)).sqrt()[None, :, None] * NODES
    tail_MN1 = -mean_PMN.mean(0).abs()[..., None]
    up_MNQ, down_MNQ = (tail_MN1 + reach_1NQ).sigmoid(), (tail_MN1 - reach_1NQ).sigmoid()
    both_MNQ = (up_MNQ + down_MNQ) / 2
    deviation_MNQ = both_MNQ - (WEIGHTS * both_MNQ).sum(-1, keepdim=True)
    slope_MN = (WEIGHTS * up_MNQ * (1 - up_MNQ)).sum(-1)
    variance_MN = (WEIGHTS * deviation_MNQ.square()).sum(-1) + slope_MN.square() * between_N
    return (variance_MN.mean(0) / (count * members)).sqrt()
