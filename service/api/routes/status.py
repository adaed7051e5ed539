"""Serve `GET /status`: load, and how each level's predictions do, for people and the page."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.dependencies import StateDep
from service.api.feedback_schemas import LiveCoverage, LiveFigure, LiveStatus
from service.api.schemas import DriftStatus, LevelStatus, Load, Status
from service.live_quality import BEYOND_CHANCE, Estimate, LiveQuality
from service.repository.level import LoadedLevel

router = APIRouter(tags=["health"])


@router.get("/status", summary="How busy the service is, and how its predictions do")
async def status(state: StateDep) -> Status:
    """Return waiting work, images answered per second, models with problems, and how each level's predictions do."""
    admission = state.repository.runtime.admission
    load = Load(
        queued=admission.waiting,
        capacity=admission.limit,
        step=admission.degradation_step,
        answered_per_second=state.stats.rate.per_second,
    )
    answered = [level for level in state.repository.levels() if level.stats.answered]
    problems, held_back = state.repository.problems(), state.repository.held_back()
    levels = list(map(_level, answered))
    return Status(load=load, store=state.store, problems=problems, held_back=held_back, levels=levels)


def _level(loaded: LoadedLevel) -> LevelStatus:
    manifest, stats = loaded.manifest, loaded.stats
    indices = {name: window.index() for name, window in stats.drift.windows().items()}
    return LevelStatus(
        model=manifest.model,
        version=manifest.version,
        level=loaded.level.name,
        answered=stats.answered,
        abstained=stats.abstained,
        drift=DriftStatus(count=len(stats.drift.confidence.latest), **indices),
        live=_live(stats.live) if stats.live.labels else None,
    )


def _live(live: LiveQuality) -> LiveStatus:
    coverage = {}
    for alpha, estimate in live.coverage.items():
        p_value = live.coverage_p_value(alpha, estimate)
        coverage[f"{alpha:g}"] = LiveCoverage(**estimate._asdict(), p_value=p_value, below=p_value < BEYOND_CHANCE)
    return LiveStatus(
        labels=live.labels,
        accuracy=_figure(live.accuracy),
        accepted_accuracy=_figure(live.accepted_accuracy),
        ece=_figure(live.ece),
        coverage=coverage,
    )


def _figure(estimate: Estimate | None) -> LiveFigure | None:
    return None if estimate is None else LiveFigure(**estimate._asdict())
