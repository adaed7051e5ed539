"""What is decided: to accept, or to abstain and why."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from model_store.manifest import Calibration, Level, Score, Strangeness, read_manifest
from service.errors import ParameterError
from service.inference.decision import conformal_quantile, conformal_sets, decide, ranking
from service.inference.uncertainty import Draws, Predictive
from service.types import Decision, Reason
from tests.support.stores import GOLDEN

# Logits with an entropy of 1.09 nats each, and energies of −1.9 and −8.9.
FAINT, STRONG = [1.0, 0.8, 0.6], [8.0, 7.8, 7.6]
ENERGY = Strangeness(score="energy", above=-5.0)


def decided(
    logits: list[float], abstain_above: float, strange: Strangeness | None = ENERGY
) -> tuple[Decision, Reason | None, float | None]:
    """On four draws with these logits, at a level with these thresholds."""
    calibration = Calibration(
        temperature=1.0, conformal_quantiles={}, abstain_above=abstain_above, out_of_distribution=strange
    )
    return decide(Predictive.from_draws(Draws.from_logits(np.array([[logits]] * 4, np.float32), 1.0)), calibration)[0]


def test_two_thresholds() -> None:
    """Either is enough to abstain; what is out of distribution by its energy is called so, uncertain or not."""
    assert decided(STRONG, 1.2)[:2] == ("accept", None)
    assert decided(STRONG, 1.0)[:2] == ("abstain", "uncertain")
    assert decided(FAINT, 1.2)[:2] == ("abstain", "out_of_distribution")
    assert decided(FAINT, 1.0)[:2] == ("abstain", "out_of_distribution")


@pytest.mark.parametrize("score", ["entropy", "one_minus_confidence", "mutual_information"])
def test_scores_of_the_same_classes(score: Score) -> None:
    """What is uncertain anyway is called uncertain, and strange only where it is not."""
    strange = Strangeness(score=score, above=-1.0)
    assert decided(STRONG, 1.0, strange)[:2] == ("abstain", "uncertain")
    assert decided(STRONG, 1.2, strange)[:2] == ("abstain", "out_of_distribution")


def test_the_threshold_may_be_reached() -> None:
    """Strange is what is above it."""
    found = decided(FAINT, 1.2)[2]
    assert found is not None
    at = Strangeness(score="energy", above=found)
    below = Strangeness(score="energy", above=math.nextafter(found, -math.inf))
    assert decided(FAINT, 1.2, at)[:2] == ("accept", None)
    assert decided(FAINT, 1.2, below)[:2] == ("abstain", "out_of_distribution")


def test_the_answer_says_how_strange() -> None:
    """With the score's name and the threshold, whatever is decided."""
    energy = -math.log(sum(map(math.exp, STRONG)))
    for abstain_above in (1.2, 1.0):
        found = decided(STRONG, abstain_above)[2]
        assert found is not None
        assert math.isclose(found, energy, rel_tol=1e-6)


def test_levels_without_a_score() -> None:
    """As the first schema's: the entropy alone decides."""
    assert decided(FAINT, 1.2, None) == ("accept", None, None)
    assert decided(FAINT, 1.0, None) == ("abstain", "uncertain", None)


def test_a_network_that_overflowed_is_not_accepted() -> None:
    """What is not a number is below no threshold."""
    decision, reason, strange = decided([math.nan] * 3, 1.2)
    assert (decision, reason) == ("abstain", "uncertain")
    assert strange is not None


def level_with(quantiles: dict[str, float], images: int | None = 30) -> Level:
    level = read_manifest(GOLDEN.read_bytes()).levels[0]
    changes = {"conformal_quantiles": quantiles, "images": images}
    return level.model_copy(update={"calibration": level.calibration.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("alpha", "quantiles", "images", "says"),
    [
        (
            0.01,
            {"0.1": 0.9, "0.05": 0.95},
            30,
            "take 99 calibration images, but level dense has 30: it is calibrated for",
        ),
        (0.1, {}, 4, "alpha 0.1 take 9 calibration images, but level dense has 4: it is calibrated for none"),
        (0.2, {"0.1": 0.9}, 30, "must be one that level dense is calibrated for: 0.1, got 0.2"),
    ],
)
def test_an_error_rate_that_a_level_lacks_says_what_it_takes(
    alpha: float, quantiles: dict[str, float], images: int, says: str
) -> None:
    with pytest.raises(ParameterError, match=re.escape(says)):
        conformal_quantile(alpha, level_with(quantiles, images))


def test_who_names_no_error_rate_gets_the_default_or_no_set() -> None:
    assert conformal_quantile(None, level_with({"0.1": 0.9, "0.05": 0.95})) == 0.9
    assert conformal_quantile(None, level_with({}, 4)) is None
    summary = Predictive.from_draws(Draws.from_logits(np.zeros((2, 3, 4), np.float32), 1.0))
    assert list(conformal_sets(summary, ranking(summary), "abcd", None)) == [None, None, None]
