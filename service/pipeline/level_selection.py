"""The level that a request means by what it wishes: the most accurate one that is accurate or fast enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.errors import ParameterError


@dataclass(frozen=True)
class LevelCandidate:
    """One level: its accuracy on the test set, and the milliseconds that an answer takes, None where nobody knows."""

    accuracy: float
    milliseconds: float | None


@dataclass(frozen=True)
class LevelConstraints:
    """What an answer must be: at least so accurate, and there within so many milliseconds."""

    min_accuracy: float | None = None
    max_latency_ms: float | None = None

    def choose(self, levels: Mapping[str, LevelCandidate]) -> tuple[str, str]:
        """The name of the level, and why it is that one.

        Where only accuracy is asked for it is the fastest that has it, else the most accurate that is fast enough.
        Raises ParameterError, naming what there is, where no level is both.
        """
        good = {n: c for n, c in levels.items() if self.min_accuracy is None or c.accuracy >= self.min_accuracy}
        if not good:
            best = max(levels, key=lambda name: levels[name].accuracy)
            raise ParameterError(
                f"no level has an accuracy of {self.min_accuracy:g}: {best} has {levels[best].accuracy:.4f}"
            )
        if self.max_latency_ms is None:
            name = min(good, key=lambda name: (_known(good[name]), -good[name].accuracy))
            return name, f"the fastest level with an accuracy of {self.min_accuracy:g} or more: {_told(good[name])}"
        quick = {n: c for n, c in good.items() if _known(c) <= self.max_latency_ms}
        if not quick:
            name = min(good, key=lambda name: _known(good[name]))
            raise ParameterError(f"no level answers within {self.max_latency_ms:g} ms: {name} has {_told(good[name])}")
        name = max(quick, key=lambda name: (quick[name].accuracy, -_known(quick[name])))
        return name, f"the most accurate level that answers within {self.max_latency_ms:g} ms: {_told(quick[name])}"


def _known(candidate: LevelCandidate) -> float:
    return float("inf") if candidate.milliseconds is None else candidate.milliseconds


def _told(candidate: LevelCandidate) -> str:
    time = "not timed yet" if candidate.milliseconds is None else f"{candidate.milliseconds:.2f} ms"
    return f"accuracy {candidate.accuracy:.4f}, {time}"
