"""Plan a request: which level answers, with how many draws, and what is degraded under overload."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from service.inference.early_stopping import EarlyStopping
from service.pipeline.level_selection import select_level
from service.pipeline.parameters import PredictQuery
from service.repository.level import LoadedLevel
from service.repository.repository import ModelRepository
from service.repository.snapshot import LoadedVersion
from service.scheduling.admission import DEGRADED_DRAWS, STEPS, Admission


@dataclass(frozen=True)
class Degradation:
    """Degraded work: at most `samples` draws, and `instead_of` the level that was replaced, None if none was."""

    samples: int
    instead_of: str | None


@dataclass(frozen=True)
class Plan:
    """A level of a version and at most `samples` draws an image, fewer with `early_stopping`.

    `reason` says why the level was selected where the request left it open; `fixed_level` that the request names it;
    `deadline_s` is in seconds from now.
    """

    version: LoadedVersion
    level: LoadedLevel
    samples: int
    early_stopping: EarlyStopping | None
    reason: str | None = None
    fixed_level: bool = False
    deadline_s: float | None = None
    degradation: Degradation | None = None

    @property
    def expected_draws(self) -> float:
        """Predict the draws of an image."""
        return self.samples if self.early_stopping is None else min(self.samples, self.level.expected_draws)

    def cost(self, images: int) -> tuple[int, float]:
        """Predict the work of so many images, in images × draws and in seconds (zero if unknown)."""
        draws = self.expected_draws
        return math.ceil(images * draws), self.level.seconds(images, draws, self.samples)

    def degraded(self, step: int) -> Plan:
        """Degrade by a step: fewer draws, at the last step also a cheaper level unless the request names one."""
        draws = DEGRADED_DRAWS[min(step, len(DEGRADED_DRAWS) - 1)]

        def samples_of(level: LoadedLevel) -> int:
            """Return the draws at a level, at least one of each member."""
            return self.samples if draws is None else min(self.samples, max(draws, level.level.members))

        cheaper = self.version.cheaper(self.level) if step == STEPS and not self.fixed_level else None
        if cheaper is not None and not cheaper.ready(samples_of(cheaper)):
            cheaper = None  # building it now would make the overload worse
        level = cheaper or self.level
        samples = samples_of(level)
        degradation = Degradation(samples, self.level.level.name if cheaper else None)
        return replace(self, level=level, samples=samples, early_stopping=level.early_stopping, degradation=degradation)


def make_plan(repository: ModelRepository, query: PredictQuery) -> Plan:
    """Plan a request without degradation; raise RequestError if it cannot be fulfilled."""
    version = repository.model(query.model).version(query.version)
    level, reason = select_level(version, query)
    fixed = query.fixed_samples(repository.settings.max_samples)
    samples, early_stopping = (level.default_samples, level.early_stopping) if fixed is None else (fixed, None)
    return Plan(version, level, samples, early_stopping, reason, query.level is not None, query.deadline_s)


def degrade_to_fit(plan: Plan, images: int, admission: Admission) -> Plan:
    """Degrade the plan for so many images as little as the load allows.

    A number of draws or a level that the request names is never degraded.
    """
    if plan.early_stopping is None or not admission.may_degrade:
        return plan
    plans = [plan, *map(plan.degraded, range(1, STEPS + 1))]
    return plans[admission.step([each.cost(images) for each in plans], plan.deadline_s)]
