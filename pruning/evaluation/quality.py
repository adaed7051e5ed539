"""Measure a level's quality on the test set, each image with a calibration that it had no part in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model_store.manifest import Calibration, Metrics, SetKind
from pruning.evaluation.calibration import abstains, covers
from pruning.evaluation.ood import SCORES, split_ood_images
from training.data.dataset import Turn
from training.evaluation import metrics


@dataclass(frozen=True)
class MeasuredImages:
    """Hold probabilities float64 [N, K] of test images, mutual information [N], and whether the level abstains.

    `covered` says by kind of set and nominal error rate, as text, whether the set holds the label, bool [N], for error
    rates that all calibrations have.
    """

    p_NK: Tensor
    information_N: Tensor
    abstains_N: Tensor
    covered: dict[SetKind, dict[str, Tensor]]

    @classmethod
    def of(
        cls,
        logits_SNK: Tensor,
        labels_N: Tensor,
        turns: Sequence[Turn],
        calibrations: Sequence[Calibration],
        noise_N: Tensor,
    ) -> MeasuredImages:
        """Test the images of each turn with its calibration; `noise_N` is as in `covers`."""
        order_N = torch.cat([turn.tested for turn in turns]).argsort()
        parts = [
            cls._of_turn(logits_SNK[:, own], labels_N[own], calibration, noise_N[own])
            for own, calibration in zip((turn.tested for turn in turns), calibrations, strict=True)
        ]
        first, *others = (part.covered for part in parts)
        covered = {
            kind: {
                alpha: torch.cat([of_alpha[alpha], *(other[kind][alpha] for other in others)])[order_N]
                for alpha in of_alpha
                if all(alpha in other[kind] for other in others)
            }
            for kind, of_alpha in first.items()
        }
        p_NK, information_N, abstains_N = (
            torch.cat(each)[order_N]
            for each in zip(*((part.p_NK, part.information_N, part.abstains_N) for part in parts), strict=True)
        )
        return cls(p_NK, information_N, abstains_N, covered)

    @classmethod
    def _of_turn(
        cls, logits_SNK: Tensor, labels_N: Tensor, calibration: Calibration, noise_N: Tensor
    ) -> MeasuredImages:
        temperature, rule = calibration.temperature, calibration.out_of_distribution
        assert rule is not None
        p_NK = metrics.predictive(logits_SNK, temperature)
        score_N = SCORES[rule.score](logits_SNK, temperature)
        return cls(
            p_NK=p_NK,
            information_N=metrics.mutual_information(logits_SNK, temperature),
            abstains_N=abstains(metrics.entropy(p_NK), score_N, calibration),
            covered=covers(p_NK, labels_N, calibration, noise_N),
        )

    @property
    def coverage(self) -> dict[SetKind, dict[str, float]]:
        """Return the share of images whose set holds the label, by kind of set and nominal error rate as text."""
        return {
            kind: {alpha: float(covered_N.double().mean()) for alpha, covered_N in of_alpha.items()}
            for kind, of_alpha in self.covered.items()
        }


def measure_quality(
    tested: MeasuredImages,
    logits_SNK: Tensor,
    labels_N: Tensor,
    ood_logits: Mapping[str, Tensor],
    calibration: Calibration,
) -> Metrics:
    """Measure the quality on test images; `calibration` is that which is published, whose OOD score is compared."""
    temperature, rule = calibration.temperature, calibration.out_of_distribution
    assert rule is not None
    p_NK, score = tested.p_NK, SCORES[rule.score]
    return Metrics(
        accuracy=metrics.accuracy(p_NK, labels_N),
        nll=metrics.nll(p_NK, labels_N),
        brier=metrics.brier(p_NK, labels_N),
        ece=metrics.ece(p_NK, labels_N),
        aurc=metrics.aurc(p_NK, labels_N),
        mutual_information=float(tested.information_N.mean()),
        ood_auroc={
            ood: metrics.auroc(score(logits_SNK, temperature), score(split_ood_images(logits_SMK)[1], temperature))
            for ood, logits_SMK in ood_logits.items()
        },
        abstained=float(tested.abstains_N.double().mean()),
        test_images=len(labels_N),
    )
