"""Unpickle only plain containers and NumPy arrays, so that no code in the file can run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from training.errors import DataError

ALLOWED = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_plain_pickle(path: Path) -> Any:
    """Unpickle a file that holds only containers and arrays; raise DataError for anything else."""
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="bytes").load()
    except OSError:
        raise
    except Exception as error:  # damaged bytes raise almost anything
        raise DataError(f"{path} is damaged or not a plain pickle: {error}") from error
