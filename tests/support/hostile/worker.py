"""Serves one store after another, in a process of its own: `python -m tests.support.hostile.worker STORES`.

A line of JSON for each: why its version is refused, or a digest of its draws, and how much memory was resident at most
since the first.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
from pathlib import Path

import numpy as np

from service.errors import NotFoundError
from service.repository.repository import ModelRepository
from service.settings import Settings

LIMIT_MB, DRAWS = 64, 4


def serve(store: Path) -> dict[str, object]:
    """What a service makes of the one version of a store: discovered, verified, built and asked."""
    catalog = ModelRepository(
        Settings(store=store, allow_empty=True, threads=1, max_level_mb=LIMIT_MB, reload_seconds=0)
    )
    try:
        (version,) = next(iter(catalog.models.values())).versions.values()
        if version.default is None:
            return {"refusal": version.refusal}
        shape = version.default.manifest.input
        images = np.random.default_rng(0).integers(0, 256, (2, shape.height, shape.width, shape.channels), np.uint8)
        logits = version.default.engine(DRAWS).draws(images, DRAWS)
        return {"refusal": None, "finite": bool(np.isfinite(logits).all()), "draws": _digest(logits)}
    except NotFoundError as error:  # what a client is told
        return {"refusal": str(error)}
    finally:
        catalog.close()


def _digest(logits: np.ndarray) -> str:
    return hashlib.sha256(logits.tobytes()).hexdigest()


def _resident() -> int:
    """Bytes that were resident at most; `getrusage` would count those of who started this process as well."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    logging.disable()
    first = None
    for store in sorted(Path(sys.argv[1]).iterdir()):
        found = serve(store)
        first = first or _resident()
        print(json.dumps(found | {"store": store.name, "grown": _resident() - first}), flush=True)
