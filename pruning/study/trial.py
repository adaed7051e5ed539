"""Describe one trial of a study, a level pruned with a criterion at a granularity, and store its result.

TRIAL/posterior.safetensors   the fine-tuned posterior
TRIAL/figures.json            the result; written last, so that a trial with this file is finished
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    """One way of pruning; `criterion` and `granularity` are `none` for the dense level."""

    criterion: str
    granularity: str
    level: Level

    @property
    def name(self) -> str:
        """Return the name for people, which is also the folder's."""
        return self.level.name if self.level == DENSE else f"{self.criterion}-{self.granularity}-{self.level.name}"


@dataclass(frozen=True)
class TrialResult:
    """A finished trial's sizes, latency and evaluation.

    `nlls` and `correct`, of each test image, are for differences between trials: the NLL in nats, and 1 or 0.
    """

    sparsity: float
    parameters: int
    multiply_adds: int
    bytes: int
    milliseconds: float
    evaluation: Evaluation
    nlls: Sequence[float]
    correct: Sequence[int]

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values."""
        own = ("sparsity", "parameters", "multiply_adds", "bytes", "milliseconds", "nlls", "correct")
        return {name: getattr(self, name) for name in own} | {"evaluation": self.evaluation.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrialResult:
        """Restore from `to_json`'s values; raise ValueError, KeyError or TypeError for other values."""
        return cls(**(values | {"evaluation": Evaluation.from_json(values["evaluation"])}))


@dataclass(frozen=True)
class TrialStore:
    """Posteriors and results of a study's trials, in a folder."""

    folder: Path

    def posterior(self, trial: Trial) -> Posterior | None:
        """Read a trial's posterior, None if there is none; raise StudyError if it is damaged."""
        path = self.folder / trial.name / "posterior.safetensors"
        try:
            return Posterior.load(path) if path.exists() else None
        except CheckpointError as error:
            raise StudyError(f"the posterior of {trial.name} is damaged: remove {path.parent}") from error

    def result(self, trial: Trial) -> TrialResult | None:
        """Read a trial's result, None if it is not finished; raise StudyError if it is damaged."""
        path = self.folder / trial.name / "figures.json"
        try:
            return TrialResult.from_json(json.loads(path.read_bytes())) if path.exists() else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudyError(f"the figures of {trial.name} are damaged: remove {path.parent}") from error

    def save_posterior(self, trial: Trial, posterior: Posterior) -> None:
        """Write a trial's posterior, atomically."""
        self._make_folder(trial)
        posterior.save(self.folder / trial.name / "posterior.safetensors")

    def save_result(self, trial: Trial, result: TrialResult) -> None:
        """Write a trial's result, atomically."""
        self._make_folder(trial)
        text = json.dumps(result.to_json(), indent=1)
        write_atomically(self.folder / trial.name / "figures.json", text.encode())

    def _make_folder(self, trial: Trial) -> None:
        try:
            (self.folder / trial.name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(f"cannot write {self.folder / trial.name}: {error.strerror}") from error


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write a new study's settings; raise StudyError, naming the first difference, if it was begun with others."""
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
    """Read a study's settings; raise StudyError if the file is missing or damaged."""
    try:
        return dict(json.loads(path.read_bytes()))
    except OSError as error:
        raise StudyError(f"there is no study in {path.parent}: expected a folder of `slimbayes study`") from error
    except (ValueError, TypeError) as error:
        raise StudyError(f"{path} is damaged: {error}") from error
