"""Estimators: how one training step draws. One file each, built alike: the source, the formula, `draw`."""

from __future__ import annotations

from training.errors import RecipeError
from training.estimators import flipout, reparam
from training.layers import Draw

ESTIMATORS: dict[str, Draw] = {"reparam": reparam.draw, "flipout": flipout.draw}


def estimator(name: str) -> Draw:
    """The estimator called `name`; raise RecipeError, listing what there is, for an unknown one."""
    if name not in ESTIMATORS:
        raise RecipeError(f"unknown estimator {name!r}: there is {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]
