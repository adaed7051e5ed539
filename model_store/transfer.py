"""Moving a version from store to store: what arrives is what was published, or nothing."""

from __future__ import annotations

from model_store.manifest import Manifest
from model_store.store import Store


def transfer(source: Store, target: Store, model: str, version: str) -> tuple[Manifest, bool]:
    """Copy a verified version with its signature; its manifest, and whether it was sent or the target has it already.

    Broken off and begun again it sends what is missing. Raises StoreError where either store does not do its part.
    """
    manifest, signature = source.manifest(model, version), source.signature(model, version)
    if version in target.contents(model).versions:
        target.verify(model, version)
        if signature is not None and target.signature(model, version) is None:
            target.attach(manifest, signature)
        return manifest, False
    files = {level.name: source.read_level(manifest, level.name) for level in manifest.levels}
    target.publish(manifest, files, signature)
    return manifest, True
