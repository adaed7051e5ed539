"""Compare a posterior's draws with its mean network, one pass at a temperature of its own.

The mean network costs one pass, so draws are worth theirs only where their negative log-likelihood is clearly lower.
With d_n the difference of both on test image n, the gain is the mean of d_n, and its standard error that of a mean of
paired differences, std(d) / √N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from model_store.small_samples import DrawsGain, judge
from training.data.dataset import Turn
from training.evaluation import metrics
from training.evaluation.temperature import calibrated, fit_temperature


@dataclass(frozen=True)
class LabelledLogits:
    """Logits float32 [S, N, K] of S networks, and labels int64 [N]."""

    logits_SNK: Tensor
    labels_N: Tensor


@dataclass(frozen=True)
class MeanNetworkFigures:
    """Quality of the mean network on test images, and what draws gain over it in NLL, in nats.

    `temperature` is the mean network's, `nll_gain` is positive where draws have the lower NLL.
    """

    temperature: float
    accuracy: float
    nll: float
    ece: float
    nll_gain: float
    nll_gain_error: float

    @property
    def draws_gain(self) -> DrawsGain:
        """Judge whether draws have a lower NLL."""
        return judge(self.nll_gain, self.nll_gain_error)

    def describe_gain(self) -> str:
        """Say what draws gain, and where that is nothing or uncertain."""
        gain = f"draws gain {self.nll_gain:.4f} ± {self.nll_gain_error:.4f} nats over the mean network"
        return gain if self.draws_gain is DrawsGain.CLEAR else f"{gain}: {self.draws_gain}"


def compare_with_mean(
    p_NK: Tensor, held: LabelledLogits, test: LabelledLogits, turns: Sequence[Turn]
) -> MeanNetworkFigures:
    """Compare the draws' predictions of the test images with the mean network, whose logits are [1, N, K].

    `held` are calibration images, on which its temperature is fitted; `turns` are as in `calibrated`.
    """
    temperature = fit_temperature(held.logits_SNK, held.labels_N)
    mean_NK = calibrated(held.logits_SNK, held.labels_N, test.logits_SNK, turns)
    gain_N = metrics.losses(mean_NK, test.labels_N) - metrics.losses(p_NK, test.labels_N)
    gain = float(gain_N.mean())
    # A single image has no standard error: as large as the gain, it never counts as one.
    error = float(gain_N.std()) / math.sqrt(len(gain_N)) if len(gain_N) > 1 else abs(gain)
    return MeanNetworkFigures(
        temperature=temperature,
        accuracy=metrics.accuracy(mean_NK, test.labels_N),
        nll=metrics.nll(mean_NK, test.labels_N),
        ece=metrics.ece(mean_NK, test.labels_N),
        nll_gain=gain,
        nll_gain_error=error,
    )
