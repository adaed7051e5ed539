"""Save and load atomic checkpoints of a run.

A checkpoint replaces the last one atomically and is read with torch's restricted unpickler. Random numbers and
schedules are functions of the images seen, so the checkpoint holds only that number, the model, the optimiser and the
epoch's running sums.
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
    """State of a run: `recipe` as JSON values, `images` seen by all ranks, running `sums` of the epoch's log line."""

    recipe: dict[str, Any]
    images: int
    sums: dict[str, float]
    model: dict[str, Any]
    optimizer: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write to `path` atomically; raise RunError where that fails."""
        buffer = BytesIO()
        torch.save(self.__dict__, buffer)
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint onto the CPU; raise CheckpointError if it is damaged or another kind of file."""
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch ignores wrong checksums
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


def recipe_difference(made_with: dict[str, Any], requested: dict[str, Any]) -> str:
    """Describe the first setting in which two recipes differ; return an empty string if they are equal."""
    for key, value in requested.items():
        if made_with.get(key) != value:
            return (
                f"{key} {made_with.get(key)!r}, this run asks for {value!r}: "
                "resume with the same settings, or with --overwrite or another --out start a new run"
            )
    return ""
