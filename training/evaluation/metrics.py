"""Score predictive distributions. Probabilities are float64, entropies and mutual information in nats."""

from __future__ import annotations

import torch
from torch import Tensor

ECE_BINS = 15


def predictive(logits_SNK: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the mean over draws of softmax(logits / T), float64 [N, K]."""
    return (logits_SNK.double() / temperature).softmax(-1).mean(0)


def accuracy(p_NK: Tensor, labels_N: Tensor) -> float:
    """Return the share of images whose most probable class is the label."""
    return float((p_NK.argmax(1) == labels_N).double().mean())


def majority_share(labels_N: Tensor) -> float:
    """Return the accuracy of always saying the most frequent class."""
    return float(labels_N.bincount().max() / len(labels_N))


def losses(p_NK: Tensor, labels_N: Tensor) -> Tensor:
    """Return the negative log-likelihood of each label, [N] in nats."""
    return -p_NK.gather(1, labels_N[:, None]).squeeze(1).clamp_min(1e-12).log()


def nll(p_NK: Tensor, labels_N: Tensor) -> float:
    """Return the mean negative log-likelihood of the labels, in nats."""
    return float(losses(p_NK, labels_N).mean())


def brier(p_NK: Tensor, labels_N: Tensor) -> float:
    """Return the mean squared distance between probabilities and one-hot label, over all classes (Brier 1950)."""
    one_hot = torch.nn.functional.one_hot(labels_N, p_NK.shape[1])
    return float((p_NK - one_hot).square().sum(1).mean())


def ece(p_NK: Tensor, labels_N: Tensor) -> float:
    """Return the expected calibration error of the top class, in 15 bins of equal width (Guo et al. 2017)."""
    confidence, top = p_NK.max(1)
    correct = (top == labels_N).double()
    bins = (confidence * ECE_BINS).ceil().long().clamp(1, ECE_BINS) - 1
    gaps = torch.zeros(ECE_BINS, dtype=torch.float64).index_add(0, bins, correct - confidence)
    return float(gaps.abs().sum() / len(labels_N))


def aurc(p_NK: Tensor, labels_N: Tensor) -> float:
    """Return the area under the risk-coverage curve, most confident images first (Geifman et al. 2019)."""
    confidence, top = p_NK.max(1)
    wrong = (top != labels_N).double()[confidence.argsort(descending=True, stable=True)]
    return float((wrong.cumsum(0) / torch.arange(1, len(wrong) + 1)).mean())


def entropy(p: Tensor) -> Tensor:
    """Return the entropy over the last dimension, in nats."""
    plogp: Tensor = torch.special.xlogy(p, p)
    return -plogp.sum(-1)


def mutual_information(logits_SNK: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the mutual information of label and weights, H(mean p) − mean H(p), [N] in nats, never below zero."""
    p_SNK = (logits_SNK.double() / temperature).softmax(-1)
    return (entropy(p_SNK.mean(0)) - entropy(p_SNK).mean(0)).clamp_min(0)


def auroc(inside_N: Tensor, outside_M: Tensor) -> float:
    """Return the probability that a score is higher outside than inside the distribution; one half is chance.

    Computed from the sum of ranks (Mann and Whitney 1947), where equal scores share their ranks' mean.
    """
    _, place, counts = torch.cat([inside_N, outside_M]).unique(return_inverse=True, return_counts=True)
    rank = (counts.cumsum(0) - (counts.double() - 1) / 2)[place]
    above = rank[len(inside_N) :].sum() - len(outside_M) * (len(outside_M) + 1) / 2
    return float(above / (len(inside_N) * len(outside_M)))
