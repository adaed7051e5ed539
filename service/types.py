"""What an answer says: every number with its definition, and the decision that follows from them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Decision = Literal["accept", "abstain"]
Reason = Literal["uncertain", "out_of_distribution"]
StopReason = Literal["samples", "settled", "deadline"]

FloatArray = npt.NDArray[np.float32]

DoubleArray = npt.NDArray[np.float64]

Arrays = dict[str, npt.NDArray[np.generic]]

FIELD = "images"
