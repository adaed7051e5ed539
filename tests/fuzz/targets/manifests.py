"""Manifests: read to what writes the same again, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from model_store.errors import ManifestError
from model_store.manifest import read_manifest
from tests.fuzz.oracle import MIB, Cost, Target
from tests.support.hostile.manifests import MANIFESTS
from tests.support.hostile.pictures.mutations import damage
from tests.support.stores import GOLDEN_FOLDER, golden_document

VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf")),
    *("", "a", "..", "../x", "\0", "\ud800", "é", "A" * 1000, [], {}, [[]], [0] * 1000, {"a": {"a": {}}}),
)
# What a refusal tells of each of thousands of faults may take more than the manifest.
BYTES_PER_BYTE = 200
MAX_SEED_BYTES = 50_000


class Manifests(Target):
    cpu_s_per_kib = 0.005
    distinct = True

    def run(self, data: bytes) -> str:
        try:
            manifest = read_manifest(data)
        except ManifestError as error:
            return f"{type(error).__name__} {error}"
        written = manifest.to_json()
        assert read_manifest(written) == manifest
        return f"read {written.decode()}"

    def budget(self, data: bytes) -> Cost:
        return Cost(super().budget(data).cpu_s, 8 * MIB + BYTES_PER_BYTE * len(data))

    def mutate(self, data: bytes, random: Random) -> bytes:
        """Another value, key or text somewhere in the document, so long as it is one."""
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return damage(data, random)
        for _ in range(random.randint(1, 3)):
            document = changed_document(document, random)
        return json.dumps(document).encode("utf-8", "surrogatepass")

    def seeds(self) -> Iterator[tuple[str, bytes]]:
        for path in sorted(GOLDEN_FOLDER.glob("manifest-*.json")):
            yield f"whole-{path.name}", path.read_bytes()
        for name, (build, _) in MANIFESTS.items():
            document = golden_document()
            document["levels"][0]["roundings"] = {"pixels": {"scale": 1.0, "zero_point": 0}}
            # Its longest would be megabytes of the same.
            if len(data := build(document)) <= MAX_SEED_BYTES:
                yield f"{name.replace(' ', '-').replace(chr(39), '')}.json", data


def changed_document(value: Any, random: Random) -> Any:
    """The value with a change in it, or another value."""
    places = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not places or random.random() < 0.1:
        return random.choice(VALUES)
    place, way = random.choice(places), random.randrange(10)
    changed = value.copy()
    if way == 0:
        del changed[place]
    elif way == 1 and isinstance(changed, dict):
        changed[random.choice(("", "x", "name", str(place) + "s"))] = changed[place]
    elif way == 1:
        changed += [changed[place]] * random.choice((1, 2, 200))
    else:
        changed[place] = changed_document(changed[place], random)
    return changed
