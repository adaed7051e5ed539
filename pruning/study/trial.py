"""One cell of a study: a level under a criterion and a granularity, and what the study keeps of it.

CELL/posterior.safetensors   the posterior, fine-tuned
CELL/figures.json            what it is worth; written last: a cell is finished when this is there
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning.errors import StudyError
from pruning.evaluation.evaluate import Evaluation
from pruning.level import DENSE, Level
from training.atomic import write_atomically
from training.bayesian.posterior import Posterior
from training.errors import CheckpointError


@dataclass(frozen=True)
class Trial:
    """`criterion` and `granularity` are `none` for the dense level."""

    criterion: str
    granularity: str
    level: Level

    @property
    def name(self) -> str:
        """Its folder's name, and what people call it."""
        return self.level.name if self.level == DENSE else f"{self.criterion}-{self.granularity}-{self.level.name}"


@dataclass(frozen=True)
class TrialResult:
    """What a finished cell is worth: sizes and speed, and its evaluation."""

    sparsity: float
    parameters: int
    multiply_adds: int
    bytes: int
    milliseconds: float
    evaluation: Evaluation

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        own = ("sparsity", "parameters", "multiply_adds", "bytes", "milliseconds")
        return {name: getattr(self, name) for name in own} | {"evaluation": self.evaluation.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrialResult:
        """What `to_json` made; raise ValueError, KeyError or TypeError for something else."""
        return cls(**(values | {"evaluation": Evaluation.from_json(values["evaluation"])}))


@dataclass(frozen=True)
class TrialStore:
    """The cells in a folder of a study."""

    folder: Path

    def posterior(self, cell: Trial) -> Posterior | None:
        """The cell's posterior, None while there is none; raise StudyError where it is damaged."""
        path = self.folder / cell.name / "posterior.safetensors"
        try:
            return Posterior.load(path) if path.exists() else None
        except CheckpointError as error:
            raise StudyError(f"the posterior of {cell.name} is damaged: remove {path.parent}") from error

    def found(self, cell: Trial) -> TrialResult | None:
        """What the cell is worth, None while it is not finished; raise StudyError where that is damaged."""
        path = self.folder / cell.name / "figures.json"
        try:
            return TrialResult.from_json(json.loads(path.read_bytes())) if path.exists() else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudyError(f"the figures of {cell.name} are damaged: remove {path.parent}") from error

    def keep_posterior(self, cell: Trial, posterior: Posterior) -> None:
        """Write the cell's posterior, atomically."""
        self._folder(cell)
        posterior.save(self.folder / cell.name / "posterior.safetensors")

    def keep_found(self, cell: Trial, found: TrialResult) -> None:
        """Write what the cell is worth, atomically."""
        self._folder(cell)
        text = json.dumps(found.to_json(), indent=1)
        write_atomically(self.folder / cell.name / "figures.json", text.encode())

    def _folder(self, cell: Trial) -> None:
        try:
            (self.folder / cell.name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(f"cannot write {self.folder / cell.name}: {error.strerror}") from error


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write a study's settings, or raise StudyError, naming the first difference, where it was begun with others."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(settings, indent=2).encode())
        return
    before = read_settings(path)
    for key, value in json.loads(json.dumps(settings)).items():
        if before.get(key) != value:
            raise StudyError(
                f"{path.parent} holds a study with {key} {before.get(key)}, not {value}: choose another --out"
            )


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of the study that wrote `path`; raise StudyError where they cannot be read."""
    try:
        return dict(json.loads(path.read_bytes()))
    except OSError as error:
        raise StudyError(f"there is no study in {path.parent}: expected a folder of `slimbayes study`") from error
    except (ValueError, TypeError) as error:
        raise StudyError(f"{path} is damaged: {error}") from error
