"""Define the manifest: the contract between writers and readers of a version.

Frozen and strict: an unknown key is an error, a newer schema is refused by name, an older one has exactly the keys it
had. Every changed field raises SCHEMA_VERSION, as CONTRIBUTING.md says. Quality is measured on the test set,
calibration comes from the calibration set, entropies and mutual information are in nats.
"""

from model_store.manifest.calibration import DEFAULT_ALPHA, Calibration, Recalibration, Score, Strangeness
from model_store.manifest.document import MAX_HESSIAN_LEFT, SCHEMA_VERSION, InputShape, Manifest, Training
from model_store.manifest.fields import SetKind, Strict
from model_store.manifest.level import Level, Rounding
from model_store.manifest.quality import Edges, MeanNetwork, Metrics, MonteCarlo, Reference
from model_store.manifest.reading import MANIFEST, MANIFEST_READ_BYTES, read_manifest

__all__ = [
    "DEFAULT_ALPHA",
    "MANIFEST",
    "MANIFEST_READ_BYTES",
    "MAX_HESSIAN_LEFT",
    "SCHEMA_VERSION",
    "Calibration",
    "Edges",
    "InputShape",
    "Level",
    "Manifest",
    "MeanNetwork",
    "Metrics",
    "MonteCarlo",
    "Recalibration",
    "Reference",
    "Rounding",
    "Score",
    "SetKind",
    "Strangeness",
    "Strict",
    "Training",
    "read_manifest",
]
