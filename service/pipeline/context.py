"""One request's account: what a route notes of it on the way, for metrics, logs and traces at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from starlette.requests import Request

from service.inference.decision import Verdict
from service.pipeline.planning import Plan
from service.repository.level import LoadedLevel
from service.scheduling.job import Job
from service.stats import Stage


@dataclass
class RequestContext:
    """What happened to one request; `stages` has the begin and end of each, in seconds of `time.monotonic`."""

    begun: float = field(default_factory=monotonic)
    stages: dict[Stage, tuple[float, float]] = field(default_factory=dict)
    served: LoadedLevel | None = None
    images: int = 0
    degraded: bool = False
    verdicts: Sequence[Verdict] = ()

    @property
    def draws(self) -> int:
        """Draws that all of its images took together."""
        return sum(each.draws for each in self.verdicts)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Note when a stage begins, and when it ends well or not."""
        begun = monotonic()
        try:
            yield
        finally:
            self.stages[stage] = (begun, monotonic())

    def milliseconds(self, stage: Stage) -> float:
        """How long a stage took; zero where there was none."""
        begun, ended = self.stages.get(stage, (0.0, 0.0))
        return 1000 * (ended - begun)

    def planned(self, plan: Plan) -> None:
        """Note which level is to answer."""
        self.served, self.degraded = plan.served, plan.degraded is not None

    def answered(self, job: Job, verdicts: Sequence[Verdict]) -> None:
        """Note what a finished job answered."""
        assert job.started is not None
        assert job.finished is not None
        self.stages["queue"], self.stages["inference"] = (job.arrived, job.started), (job.started, job.finished)
        self.verdicts = verdicts


def context_of(request: Request) -> RequestContext:
    """The account that `service.observability.middleware` opened for a request."""
    account: RequestContext = request.state.account
    return account
