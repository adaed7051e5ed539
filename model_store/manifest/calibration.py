"""Define what turns draws into decisions, and the pictures on which a version was calibrated anew."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from model_store.manifest.fields import Fraction, NonNegative, Positive, Sha256, Since, Strict, VersionName
from model_store.small_samples import ALPHAS, images_needed

# Error rate of prediction sets where a request names none.
DEFAULT_ALPHA: Final = 0.1
Score = Literal["mutual_information", "entropy", "one_minus_confidence", "energy"]


class Strangeness(Strict):
    """Out-of-distribution rule: an OOD score by name, and the threshold above which an image is out of distribution."""

    score: Score
    above: float


class Calibration(Strict):
    """Parameters that turn draws into decisions.

    `conformal_quantiles`: error rate α, as text, to the quantile of 1 − p̄ of the true class, for those of ALPHAS that
    the number of calibration images allows.
    `aps_quantiles`: the same of adaptive prediction sets' randomised score (Romano et al. 2020).
    `abstain_above`: predictive entropy, in nats, above which the service abstains.
    `images`: the number of calibration images.
    `folds`: 1 where these are no test images; else they are the test images, and each of so many parts of them was
    tested with what the others alone say.
    """

    temperature: Annotated[float, Field(ge=1e-9, le=1e9)]
    conformal_quantiles: dict[str, Fraction]
    aps_quantiles: Annotated[dict[str, Fraction], Since(2)] = Field(default_factory=dict)
    abstain_above: NonNegative
    out_of_distribution: Annotated[Strangeness | None, Since(2)] = None
    images: Annotated[Positive | None, Since(4)] = None
    folds: Annotated[Positive, Since(4)] = 1

    @property
    def missing_sets(self) -> dict[str, int]:
        """Return the error rates α, as text, without prediction sets, and the calibration images that each takes."""
        return {str(alpha): images_needed(alpha) for alpha in ALPHAS if str(alpha) not in self.conformal_quantiles}


class Recalibration(Strict):
    """Labelled pictures on which the version `calibration_of` was calibrated anew, which gave this one.

    The level files are those of `files_version`, written in `files_schema`. `folder` is the name of the pictures'
    folder, `pictures` their number by class, `digest` the SHA-256 of their labels and contents.
    """

    files_version: VersionName
    files_schema: Positive
    calibration_of: VersionName
    folder: str
    pictures: dict[str, Positive]
    digest: Sha256
    code_version: str
