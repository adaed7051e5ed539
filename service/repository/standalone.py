"""Build one level's engine for a program that is no service: scoring, and prediction in process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from model_store.manifest import Level, Manifest
from model_store.store import Store
from service.inference.autotune import autotune
from service.inference.engine import Engine
from service.repository.verification import verified_artifact
from service.settings import MAX_LEVEL_GMACS, MAX_LEVEL_MB, Precision


def build_engine(
    store: Store, manifest: Manifest, level: Level, draws: int, threads: int, precision: Precision
) -> Engine:
    """Verify a level's file, and build its first draws, which are those that are served.

    Raises StoreError or ArtifactError if the level cannot be run.
    """
    artifact = verified_artifact(
        store,
        manifest,
        level,
        precision=precision,
        max_bytes=MAX_LEVEL_MB * 2**20,
        max_operations=MAX_LEVEL_GMACS * 10**9,
    )
    with ThreadPoolExecutor(threads, "builder") as builders:
        engine = autotune(artifact, artifact.draw_key, builders, threads)
        engine.prepare(draws)
    return engine
