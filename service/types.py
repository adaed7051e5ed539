"""Define types and names that several parts of the service share."""

from __future__ import annotations

from itertools import chain
from typing import Literal

import numpy as np
import numpy.typing as npt

from model_store.images.formats import SUFFIXES

Decision = Literal["accept", "abstain"]
Reason = Literal["uncertain", "out_of_distribution"]
# Why sampling stopped.
StopReason = Literal["samples", "converged", "deadline"]
# Whether the store could be read at the last attempt.
StoreState = Literal["reachable", "unreachable"]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[np.generic]]

# The field of a form, and the key of a JSON body, that holds images.
FIELD = "images"
# Files that count as images in a folder; a file that is named explicitly may have any suffix.
IMAGE_SUFFIXES = frozenset(chain.from_iterable(SUFFIXES.values()))
