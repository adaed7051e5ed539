"""List models, versions and levels for `GET /models`."""

from __future__ import annotations

from collections.abc import Mapping

from model_store.manifest import DEFAULT_ALPHA, Level
from service.api.schemas import (
    Arrangement,
    LatencyListing,
    LevelListing,
    Listing,
    ModelListing,
    SortKey,
    VersionListing,
)
from service.inference.bank import Bank
from service.inference.decision import conformal_quantile
from service.repository.level import LoadedLevel
from service.repository.repository import ModelRepository
from service.repository.snapshot import LoadedVersion

# Figures of a level that its manifest has.
PUBLISHED = (
    *("name", "sparsity", "bytes", "parameters", "multiply_adds", "members", "draws"),
    *("metrics", "mean_network", "coverage"),
)


def list_models(repository: ModelRepository, model: str | None = None) -> Listing:
    """List all models, or one; raise NotFoundError."""
    return Listing(models=[list_model(repository, name) for name in ([model] if model else repository.models)])


def list_model(repository: ModelRepository, model: str) -> ModelListing:
    """List the versions of one model; raise NotFoundError."""
    found = repository.model(model)
    versions = [list_version(version, found.aliases) for version in found.listed()]
    return ModelListing(name=found.name, refusal=found.refusal, versions=versions)


def list_version(version: LoadedVersion, aliases: Mapping[str, str]) -> VersionListing:
    """List the levels of one version."""
    best = pareto([level.level for level in version.levels.values()])
    return VersionListing(
        version=version.name,
        aliases=sorted(alias for alias, target in aliases.items() if target == version.name),
        ready=version.manifest is not None,
        refusal=version.refusal,
        created=version.manifest.created if version.manifest else None,
        default_level=version.manifest.default_level if version.manifest else None,
        levels=[_list_level(level, level.level.name in best) for level in version.levels.values()],
    )


def sort_levels(listing: Listing, key: SortKey, descending: bool) -> Listing:
    """Sort the levels of each version; levels without a measured latency come last."""

    def value(level: LevelListing) -> tuple[bool, float]:
        found = level.latency_ms.p50 if key == "latency" else getattr(level, key, getattr(level.metrics, key, None))
        return found is None, (-1 if descending else 1) * float(found or 0)

    for model in listing.models:
        for version in model.versions:
            version.levels.sort(key=value)
    return listing


def pareto(levels: list[Level]) -> set[str]:
    """Return the Pareto-optimal levels: none other is better in accuracy or multiply-adds and no worse in the other."""

    def beats(one: Level, other: Level) -> bool:
        ahead = (one.metrics.accuracy, -one.multiply_adds)
        behind = (other.metrics.accuracy, -other.multiply_adds)
        return ahead != behind and all(a >= b for a, b in zip(ahead, behind, strict=True))

    return {level.name for level in levels if not any(beats(other, level) for other in levels)}


def _list_level(loaded: LoadedLevel, on_front: bool) -> LevelListing:
    level, latency = loaded.level, loaded.latency
    return LevelListing(
        **{name: getattr(level, name) for name in PUBLISHED},
        accuracy_interval=level.metrics.accuracy_interval,
        calibration_images=level.calibration.images,
        missing_sets=level.calibration.missing_sets,
        default_alpha=None if conformal_quantile(None, level) is None else DEFAULT_ALPHA,
        latency_ms=LatencyListing(p50=latency.quantile(0.5), p95=latency.quantile(0.95), count=latency.count),
        arrangement=_list_arrangement(loaded.bank),
        refusal=loaded.refusal,
        pareto=on_front,
    )


def _list_arrangement(bank: Bank | None) -> Arrangement | None:
    if bank is None:
        return None
    threads = max((prefix.parallel or prefix.session).threads for prefix in bank.prefixes)
    eight_bits = any(member.roundings for member in bank.artifact.members)
    return Arrangement(draws_per_graph=bank.size, eight_bits=eight_bits, shared_threads=threads)
