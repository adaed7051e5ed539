"""Describe the published weights of an architecture: where they are, and how images must be normalised for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pretraining:
    """Weights of an earlier training, on images normalised by `mean` and `std` of values in [0, 1].

    `head` is the path of the layer whose outputs are classes. `package` is the Python package that brings the weights
    as its `file`, None where they are only taken from the user's file. `name_of` returns the name here of a tensor in
    a published file.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    head: str
    package: str | None = None
    file: str = ""
    name_of: Callable[[str], str] = str
