"""Files in scikit-learn's wheel, without what importing it takes: seconds, most of them for what nobody here calls."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from training.errors import DataError


def published(name: str) -> Path:
    """Where a file of `sklearn.datasets` lies; raise DataError where it does not."""
    spec = find_spec("sklearn")
    folders = () if spec is None else spec.submodule_search_locations or ()
    for folder in folders:
        path = Path(folder) / "datasets" / name
        if path.is_file():
            return path
    raise DataError(f"scikit-learn is installed without its datasets/{name}: install it again, with pip")
