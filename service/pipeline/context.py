"""Keep the context of one request (stages, level, results) for metrics, logs and traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from service.http.content.memory import Part, RequestMemory, Reservation
from service.inference.decision import ImageResult
from service.pipeline.planning import Plan
from service.repository.level import LoadedLevel
from service.scheduling.job import Job
from service.stats import Stage


class StageTimer:
    """Record the time of a stage in its context."""

    __slots__ = ("_begun", "_stage", "_stages")

    def __init__(self, stages: dict[Stage, tuple[float, float]], stage: Stage) -> None:
        self._stages, self._stage = stages, stage

    def __enter__(self) -> None:
        self._begun, _ = self._stages.get(self._stage) or (monotonic(), 0.0)

    def __exit__(self, *_: object) -> None:
        self._stages[self._stage] = (self._begun, monotonic())


@dataclass
class RequestContext:
    """Facts about one request; `stages` holds begin and end of each, in seconds of `time.monotonic`.

    `received` is when the body had arrived, `body` the memory that it and its pixels take, once it is read. `close`
    releases the memory that the request holds, at its end.
    """

    begun: float = field(default_factory=monotonic)
    stages: dict[Stage, tuple[float, float]] = field(default_factory=dict)
    level: LoadedLevel | None = None
    images: int = 0
    degraded: bool = False
    results: Sequence[ImageResult] = ()
    received: float = field(default_factory=monotonic)
    body: Reservation = field(init=False)
    reservations: list[Reservation] = field(default_factory=list)

    def reserve(self, memory: RequestMemory, part: Part) -> Reservation:
        """Open a reservation that is released at the end of the request."""
        reservation = Reservation(memory, part)
        self.reservations.append(reservation)
        return reservation

    def close(self) -> None:
        """Release all reservations."""
        for reservation in self.reservations:
            reservation.shrink(0)

    def latest(self, deadline_s: float | None) -> float | None:
        """Return when the deadline passes, in seconds of `time.monotonic`: so long after the body has arrived."""
        return None if deadline_s is None else self.received + deadline_s

    @property
    def draws(self) -> int:
        """Return the draws of all images together."""
        return sum(each.draws for each in self.results)

    def stage(self, stage: Stage) -> StageTimer:
        """Record begin and end of a stage, whether it succeeds or not; one that is entered again goes on."""
        return StageTimer(self.stages, stage)

    def milliseconds(self, stage: Stage) -> float:
        """Return the duration of a stage, zero if there was none."""
        begun, ended = self.stages.get(stage, (0.0, 0.0))
        return 1000 * (ended - begun)

    def set_plan(self, plan: Plan) -> None:
        """Record which level is to answer."""
        self.level, self.degraded = plan.level, plan.degradation is not None

    def set_results(self, job: Job, results: Sequence[ImageResult]) -> None:
        """Record the results of a finished job."""
        assert job.started is not None
        assert job.finished is not None
        self.stages["queue"], self.stages["inference"] = (job.arrived, job.started), (job.started, job.finished)
        self.results = results
