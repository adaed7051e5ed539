"""Atomic snapshots of a run, and resuming from them.

A snapshot is written beside its place, flushed and renamed over it: a crash leaves the one before. It is read with
torch's restricted unpickler. Random numbers and schedules need no state: both are functions of how many images the
world has seen, so that number, the model, the optimiser and what the log will say are the whole of it.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from training.atomic import write_atomically
from training.errors import CheckpointError


@dataclass(frozen=True)
class Checkpoint:
    """`recipe`: the run's settings as JSON values; `images`: how many the world saw; `sums`: the epoch's so far."""

    recipe: dict[str, Any]
    images: int
    sums: dict[str, float]
    model: dict[str, Any]
    optimizer: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write atomically over what is at `path`."""
        buffer = BytesIO()
        torch.save(self.__dict__, buffer)
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint onto the CPU; raise CheckpointError where it is damaged or something else."""
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch reads past wrong checksums
            if damaged:
                raise zipfile.BadZipFile(damaged)
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged bytes raise almost anything
            raise CheckpointError(f"the checkpoint {path} cannot be read, it may be damaged") from error
        expected = {"recipe": dict, "images": int, "sums": dict, "model": dict, "optimizer": dict}
        if not isinstance(found, dict) or {key: type(value) for key, value in found.items()} != expected:
            raise CheckpointError(f"{path} is not a checkpoint of slimbayes train")
        return cls(**found)

    def check_recipe(self, recipe: dict[str, Any]) -> None:
        """Raise CheckpointError, naming the first difference, unless this was made with `recipe`."""
        if difference := recipe_difference(self.recipe, recipe):
            raise CheckpointError(f"the checkpoint was made with {difference}")


def recipe_difference(made_with: dict[str, Any], asked: dict[str, Any]) -> str:
    """What to say of the first setting in which two recipes differ; nothing where they are equal."""
    for key, value in asked.items():
        if made_with.get(key) != value:
            return (
                f"{key} {made_with.get(key)!r}, this run asks for {value!r}: "
                "resume with the same settings, or with --overwrite or another --out start a new run"
            )
    return ""
