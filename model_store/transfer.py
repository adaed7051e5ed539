"""Moving a version from store to store: what arrives is what was published, or nothing."""

from __future__ import annotations

from model_store.manifest import Manifest
from model_store.store import Store


def transfer(source: Store, target: Store, model: str, version: str) -> tuple[Manifest, bool]:
    """Copy a verified version; its manifest, and whether it was sent: False where the target has it already.

    Broken off and begun again it sends what is missing. Raises StoreError where either store does not do its part.
    """
    manifest = source.manifest(model, version)
    if version in target.contents(model).versions:
        target.verify(model, version)
        return manifest, False
    target.publish(manifest, {level.name: source.read_level(manifest, level.name) for level in manifest.levels})
    return manifest, True
