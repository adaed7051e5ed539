"""Judge what draws gain over their mean network: a mean of paired differences in NLL, with its standard error."""

from __future__ import annotations

from enum import StrEnum

# Standard errors that a gain must exceed.
SIGNIFICANT = 2.0
# Nats below which a gain is not worth the draws. Where chance alone could make more, too few images were tested.
WORTHWHILE = 0.01


class DrawsGain(StrEnum):
    """Say whether draws are better than their mean network; each value is the sentence for it."""

    CLEAR = "draws gain more than two standard errors"
    UNCLEAR = "too few test images to tell whether draws gain: two standard errors are more than the gain"
    NOTHING = "draws add nothing here: the gain is not above two standard errors"

    @property
    def worth_drawing(self) -> bool:
        """Tell whether draws are to be served: unless they add nothing."""
        return self is not DrawsGain.NOTHING


def judge(gain: float, error: float) -> DrawsGain:
    """Judge a gain in nats by its standard error."""
    if gain > SIGNIFICANT * error:
        return DrawsGain.CLEAR
    return DrawsGain.UNCLEAR if gain > 0 and SIGNIFICANT * error > WORTHWHILE else DrawsGain.NOTHING
