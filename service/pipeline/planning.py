"""What will be done for a request: which level answers it, with how many draws, and what overload took away."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from model_store.manifest import Level
from service.api.schemas import Degraded
from service.errors import ParameterError
from service.inference.early_stopping import EarlyStopping
from service.pipeline.level_selection import LevelConstraints
from service.pipeline.parameters import PredictQuery
from service.repository.level import LoadedLevel
from service.repository.repository import ModelRepository
from service.scheduling.admission import DRAWS, STEPS, Admission


@dataclass(frozen=True)
class Plan:
    """A level, at most so many draws an image, fewer where `settlement` says so; why, and what was taken away."""

    served: LoadedLevel
    samples: int
    settlement: EarlyStopping | None
    reason: str | None = None
    degraded: Degraded | None = None

    @property
    def expected_draws(self) -> float:
        """Draws that an image should take."""
        return self.samples if self.settlement is None else min(self.samples, self.served.usual_draws)

    def cost(self, images: int) -> tuple[int, float]:
        """What so many images should take, in images x draws and in seconds, as far as anyone knows."""
        draws = self.expected_draws
        return math.ceil(images * draws), self.served.seconds(images, draws, self.samples)


def plan(catalog: ModelRepository, parameters: PredictQuery) -> Plan:
    """The plan for a request, if nothing is taken away; raise RequestError where there is none such."""
    served, reason = _level(catalog, parameters)
    most = catalog.settings.max_samples
    if parameters.samples != "auto":
        return Plan(served, fixed_samples(parameters.samples, most), None, reason)
    return Plan(served, served.default_samples(most), served.settlement, reason)


def fitted(catalog: ModelRepository, full: Plan, images: int, parameters: PredictQuery, admission: Admission) -> Plan:
    """The plan for so many images while others wait, with no more taken away than must be.

    What a request names itself, a number of draws or a level, it gets.
    """
    if full.settlement is None or not admission.may_degrade:
        return full
    own_level = parameters.level is not None
    plans = [full, *(_degraded(catalog, full, step, own_level=own_level) for step in range(1, STEPS + 1))]
    return plans[admission.step([each.cost(images) for each in plans], parameters.deadline)]


def _level(catalog: ModelRepository, parameters: PredictQuery) -> tuple[LoadedLevel, str | None]:
    wish = LevelConstraints(parameters.min_accuracy, parameters.max_latency_ms)
    if parameters.level == "auto" and wish.max_latency_ms is None:
        wish = replace(wish, max_latency_ms=parameters.deadline_ms)
    if wish == LevelConstraints():
        return catalog.level(parameters.model, parameters.version, parameters.level), None
    if parameters.level not in (None, "auto"):
        raise ParameterError(f"level {parameters.level!r} leaves nothing to wish for: ask for level=auto")
    return catalog.wished(parameters.model, parameters.version, wish)


def _degraded(catalog: ModelRepository, full: Plan, step: int, *, own_level: bool) -> Plan:
    draws = DRAWS[min(step, len(DRAWS) - 1)]
    samples = full.samples if draws is None else min(full.samples, draws)
    cheaper = catalog.cheaper(full.served) if step == STEPS and not own_level else None
    if cheaper is not None and not cheaper.ready(samples):
        cheaper = None  # to build one now would make it worse
    served = cheaper or full.served
    instead_of = full.served.level.name if cheaper else None
    return Plan(served, samples, served.settlement, full.reason, Degraded(samples=samples, instead_of=instead_of))


def fixed_samples(text: str, most: int) -> int:
    """A number of draws that is asked for; raise ParameterError where it is none from 1 to `most`."""
    if re.fullmatch(r"[0-9]{1,9}", text) is None or not 1 <= int(text) <= most:
        raise ParameterError(f"samples must be a whole number from 1 to {most}, or auto, got {text[:20]!r}")
    return int(text)


def quantile(alpha: float, level: Level) -> float:
    """The conformal quantile of a level at an error rate; raise ParameterError, listing them, for one it has not."""
    quantiles = {float(known): each for known, each in level.calibration.conformal_quantiles.items()}
    if alpha not in quantiles:
        known = ", ".join(level.calibration.conformal_quantiles)
        raise ParameterError(f"alpha must be one that level {level.name} is calibrated for: {known}, got {alpha:g}")
    return quantiles[alpha]
