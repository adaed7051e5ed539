"""Select a pruning level from accuracy and latency constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from service.errors import ParameterError
from service.pipeline.parameters import PredictOptions
from service.repository.level import LoadedLevel
from service.repository.snapshot import LoadedVersion


@dataclass(frozen=True)
class LevelCandidate:
    """A level to choose from: accuracy on the test set and latency of a response, None where it was never measured."""

    accuracy: float
    latency_ms: float | None


@dataclass(frozen=True)
class LevelConstraints:
    """Lower bound on accuracy and upper bound on latency; None is no bound."""

    min_accuracy: float | None = None
    max_latency_ms: float | None = None

    def choose(self, levels: Mapping[str, LevelCandidate]) -> tuple[str, str]:
        """Return the name of the level, and the reason for it in words.

        With a bound on accuracy alone it is the fastest level within it, else the most accurate one within the bounds.
        Raises ParameterError, naming the nearest level, where none is within the bounds.
        """
        accurate = {n: c for n, c in levels.items() if self.min_accuracy is None or c.accuracy >= self.min_accuracy}
        if not accurate:
            best = max(levels, key=lambda name: levels[name].accuracy)
            raise ParameterError(
                f"no level has an accuracy of {self.min_accuracy:g}: {best} has {levels[best].accuracy:.4f}"
            )
        if self.max_latency_ms is None:
            name = min(accurate, key=lambda name: (_latency_ms(accurate[name]), -accurate[name].accuracy))
            reason = f"the fastest level with an accuracy of {self.min_accuracy:g} or more"
            return name, f"{reason}: {_describe(accurate[name])}"
        fast = {n: c for n, c in accurate.items() if _latency_ms(c) <= self.max_latency_ms}
        if not fast:
            name = min(accurate, key=lambda name: _latency_ms(accurate[name]))
            nearest = f"{name} has {_describe(accurate[name])}"
            raise ParameterError(f"no level answers within {self.max_latency_ms:g} ms: {nearest}")
        name = max(fast, key=lambda name: (fast[name].accuracy, -_latency_ms(fast[name])))
        return name, f"the most accurate level that answers within {self.max_latency_ms:g} ms: {_describe(fast[name])}"


def _latency_ms(candidate: LevelCandidate) -> float:
    return math.inf if candidate.latency_ms is None else candidate.latency_ms


def _describe(candidate: LevelCandidate) -> str:
    time = "not timed yet" if candidate.latency_ms is None else f"{candidate.latency_ms:.2f} ms"
    return f"accuracy {candidate.accuracy:.4f}, {time}"


def select_level(version: LoadedVersion, options: PredictOptions) -> tuple[LoadedLevel, str | None]:
    """Return the level of a version that a request names or leaves open, and the reason if it is left open.

    Raises NotFoundError for an unknown level, ParameterError if no level meets the constraints or one is named too.
    """
    constraints = LevelConstraints(options.min_accuracy, options.max_latency_ms)
    if options.level == "auto" and constraints.max_latency_ms is None:
        constraints = replace(constraints, max_latency_ms=options.deadline_ms)
    if constraints == LevelConstraints():
        return version.level(options.level), None
    if options.level not in (None, "auto"):
        raise ParameterError(
            f"level {options.level!r} leaves no choice to min_accuracy and max_latency_ms: ask for level=auto"
        )
    levels = version.levels
    name, reason = constraints.choose(
        {name: LevelCandidate(level.level.metrics.accuracy, level.expected_ms) for name, level in levels.items()}
    )
    return levels[name], reason
