"""What is fuzzed, by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from tests.fuzz.oracle import Target

# Class by module; imported late, so that a fuzzer can instrument what it imports.
TARGETS = {
    "bodies": "Bodies",
    "heads": "Heads",
    "pictures": "Pictures",
    "manifests": "Manifests",
    "level_files": "LevelFiles",
}


def load(name: str) -> Target:
    """Make the target of a name ready."""
    make: Callable[[], Target] = getattr(import_module(f"tests.fuzz.targets.{name}"), TARGETS[name])
    return make()
