"""Plan a request: which level answers, with how many draws, and what is degraded under overload."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from model_store.manifest import Level
from service.errors import ParameterError
from service.inference.early_stopping import EarlyStopping
from service.pipeline.level_selection import LevelCandidate, LevelConstraints
from service.pipeline.parameters import PredictOptions, PredictQuery
from service.repository.level import LoadedLevel
from service.repository.repository import ModelRepository
from service.scheduling.admission import DEGRADED_DRAWS, STEPS


@dataclass(frozen=True)
class Degradation:
    """Degraded work: at most `samples` draws, and `instead_of` the level that was replaced, None if none was."""

    samples: int
    instead_of: str | None


@dataclass(frozen=True)
class Plan:
    """A level and at most `samples` draws an image, fewer with `early_stopping`.

    `reason` says why the level was selected where the request left it open; `fixed_level` that the request names it;
    `deadline_s` is in seconds from now.
    """

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


def make_plan(repository: ModelRepository, query: PredictQuery) -> Plan:
    """Plan a request without degradation; raise RequestError if it cannot be fulfilled."""
    level, reason = _select_level(repository, query)
    most = repository.settings.max_samples
    fixed = query.samples != "auto"
    samples = fixed_samples(query.samples, most) if fixed else level.default_samples
    return Plan(
        level, samples, None if fixed else level.early_stopping, reason, query.level is not None, query.deadline_s
    )


def degrade_to_fit(repository: ModelRepository, plan: Plan, images: int) -> Plan:
    """Degrade the plan for so many images as little as the load allows.

    A number of draws or a level that the request names is never degraded.
    """
    admission = repository.runtime.admission
    if plan.early_stopping is None or not admission.may_degrade:
        return plan
    plans = [plan, *(_degraded(repository, plan, step) for step in range(1, STEPS + 1))]
    return plans[admission.step([each.cost(images) for each in plans], plan.deadline_s)]


def _select_level(repository: ModelRepository, query: PredictQuery) -> tuple[LoadedLevel, str | None]:
    constraints = _constraints(query)
    if constraints == LevelConstraints():
        return repository.level(query.model, query.version, query.level), None
    if query.level not in (None, "auto"):
        raise ParameterError(
            f"level {query.level!r} leaves no choice to min_accuracy and max_latency_ms: ask for level=auto"
        )
    levels = repository.model(query.model).version(query.version).levels
    name, reason = constraints.choose(
        {name: LevelCandidate(level.level.metrics.accuracy, level.expected_ms) for name, level in levels.items()}
    )
    return levels[name], reason


def _constraints(query: PredictOptions) -> LevelConstraints:
    constraints = LevelConstraints(query.min_accuracy, query.max_latency_ms)
    if query.level == "auto" and constraints.max_latency_ms is None:
        return replace(constraints, max_latency_ms=query.deadline_ms)
    return constraints


def _degraded(repository: ModelRepository, plan: Plan, step: int) -> Plan:
    draws = DEGRADED_DRAWS[min(step, len(DEGRADED_DRAWS) - 1)]
    samples = plan.samples if draws is None else min(plan.samples, draws)
    cheaper = repository.cheaper(plan.level) if step == STEPS and not plan.fixed_level else None
    if cheaper is not None and not cheaper.ready(samples):
        cheaper = None  # building it now would make the overload worse
    level = cheaper or plan.level
    degradation = Degradation(samples, plan.level.level.name if cheaper else None)
    return replace(plan, level=level, samples=samples, early_stopping=level.early_stopping, degradation=degradation)


def fixed_samples(text: str, most: int) -> int:
    """Parse a number of draws; raise ParameterError unless it is from 1 to `most`."""
    if re.fullmatch(r"[0-9]{1,9}", text) is None or not 1 <= int(text) <= most:
        raise ParameterError(f"samples must be a whole number from 1 to {most}, or auto, got {text[:20]!r}")
    return int(text)


def conformal_quantile(alpha: float, level: Level) -> float:
    """Return a level's conformal quantile at an error rate; raise ParameterError, listing those that it has."""
    quantiles = {float(known): each for known, each in level.calibration.conformal_quantiles.items()}
    if alpha not in quantiles:
        known = ", ".join(level.calibration.conformal_quantiles)
        raise ParameterError(f"alpha must be one that level {level.name} is calibrated for: {known}, got {alpha:g}")
    return quantiles[alpha]
