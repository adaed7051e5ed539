"""Define the figures of a level, measured on the test set."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import FailFast, Field, model_validator

from model_store.manifest.fields import Fraction, NonNegative, Positive, Since, Strict
from model_store.small_samples import DrawsGain, judge, wilson_interval

# FailFast reports only the first fault of a sequence: a list of a million faults would take gigabytes.
Histogram = Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=1_000), FailFast()]
InnerEdges = Annotated[tuple[NonNegative, ...], Field(max_length=999), FailFast()]


class Metrics(Strict):
    """Quality of a level's draws on the test set.

    `ece` has 15 bins, `ood_auroc` one value per out-of-distribution set. `abstained` is the share of images on which
    the default threshold abstains, `test_images` their number.
    """

    accuracy: Fraction
    nll: NonNegative
    brier: NonNegative
    ece: Fraction
    aurc: Fraction
    mutual_information: NonNegative
    ood_auroc: dict[str, Fraction]
    abstained: Annotated[Fraction | None, Since(4)] = None
    test_images: Annotated[Positive | None, Since(4)] = None

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the accuracy, None where the number of images is not known."""
        return None if self.test_images is None else wilson_interval(self.accuracy, self.test_images)


class MeanNetwork(Strict):
    """Quality of the posterior's mean as one network, one pass, on the test set.

    `temperature` is its own, from the calibration set. `nll_gain` is how much lower the NLL of the draws is, and
    `nll_gain_error` the standard error of that mean of paired differences over images.
    """

    temperature: Annotated[float, Field(ge=1e-9, le=1e9)]
    accuracy: Fraction
    nll: NonNegative
    ece: Fraction
    nll_gain: float
    nll_gain_error: NonNegative

    @property
    def draws_gain(self) -> DrawsGain:
        """Judge whether draws have a lower NLL."""
        return judge(self.nll_gain, self.nll_gain_error)


class MonteCarlo(Strict):
    """Default number of draws and the standard error of the top probability at it, mean over the test set."""

    draws: Positive
    standard_error: NonNegative


class Edges(Strict):
    """Inner edges of a reference's bins, ascending: quantiles of what it was measured on."""

    confidence: InnerEdges
    entropy: InnerEdges
    mutual_information: InnerEdges


class Reference(Strict):
    """Histograms on the test set, as fractions of bins of confidence over [0, 1], and of the others over [0, ln K].

    Bins are those between `edges`, each with its lower edge, or equal ones without them.
    """

    confidence: Histogram
    entropy: Histogram
    mutual_information: Histogram
    edges: Annotated[Edges | None, Since(4)] = None

    @model_validator(mode="after")
    def _edges_ascend_and_fit(self) -> Reference:
        for name, edges in self.edges or ():
            if len(edges) + 1 != len(getattr(self, name)):
                raise ValueError(f"{name} must have one bin more than inner edges")
            if any(low >= high for low, high in pairwise(edges)):
                raise ValueError(f"edges of {name} must ascend")
        return self
