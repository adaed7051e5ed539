"""How the manifest grows: every schema that there ever was is written down, and is read as it was.

Where one of these tests fails because a field was added or changed, the manifest needs a new schema: CONTRIBUTING.md
has the steps. No golden file is ever changed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from model_store.errors import ManifestError, NewerSchemaError
from model_store.manifest import SCHEMA_VERSION, Manifest, Strict, read_manifest
from tests.support.stores import GOLDEN_FOLDER

SCHEMAS = range(1, SCHEMA_VERSION + 1)
# What there is of released schemas never changes: SHA-256, the first twelve digits.
FROZEN = {
    "manifest-v1.json": "cb6cb6965012",
    "manifest-v2.json": "07724387cdc6",
    "manifest-v3.json": "0642db1d8745",
    "manifest-v4.json": "e10de5355717",
    "schema-v1.json": "4171e434be68",
    "schema-v2.json": "665d9a5e8393",
    "schema-v3.json": "b1c6a7a94b91",
    "schema-v4.json": "fedfc651914a",
}
Document = dict[str, Any]


def golden(schema: int) -> Document:
    """A manifest as it was written then."""
    document: Document = json.loads((GOLDEN_FOLDER / f"manifest-v{schema}.json").read_bytes())
    return document


def shape(schema: int) -> Document:
    """The JSON schema of manifests of a schema, without words for people."""
    document = Manifest.model_json_schema()
    kinds = document.pop("$defs") | {"Manifest": document}
    written = {kind.__name__: _fields(kind, kinds[kind.__name__], schema) for kind in (Manifest, *_parts())}
    return {
        name: fields
        for name, fields in written.items()
        if f'"#/$defs/{name}"' in json.dumps(written) or name == "Manifest"
    }


def _parts() -> list[type[Strict]]:
    return [kind for kind in Strict.__subclasses__() if kind is not Manifest]


def _fields(kind: type[Strict], described: Document, schema: int) -> Document:
    """What each field may be, by name; one that may be left out has a default."""
    fields = {}
    for name, field in described["properties"].items():
        if kind.since(name) <= schema:
            words = {"title", "description"} | ({"default"} if kind.since(name) > 1 else set())
            fields[name] = {key: value for key, value in field.items() if key not in words}
    if "schema_version" in fields:  # of which every schema knows one more
        fields["schema_version"] = {"const": schema}
    return fields


@pytest.mark.parametrize("schema", SCHEMAS)
def test_old_manifests_are_read_and_written_as_they_were(schema: int) -> None:
    """Key by key, in their order."""
    data = (GOLDEN_FOLDER / f"manifest-v{schema}.json").read_bytes()
    manifest = read_manifest(data)
    assert manifest.schema_version == schema
    pairs = json.loads(data, object_pairs_hook=list)
    assert json.loads(manifest.to_json(), object_pairs_hook=list) == pairs
    assert read_manifest(manifest.to_json()) == manifest


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_is_as_it_is_written_down(schema: int) -> None:
    """No field comes, goes or changes what it may be without a new number."""
    assert shape(schema) == json.loads((GOLDEN_FOLDER / f"schema-v{schema}.json").read_bytes())


def test_golden_files_never_change() -> None:
    """There is one of each kind for each schema, and none is another than it was."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in GOLDEN_FOLDER.glob("*.json")}
    assert found == FROZEN
    assert found.keys() == {f"{kind}-v{schema}.json" for kind in ("manifest", "schema") for schema in SCHEMAS}


def test_fields_come_with_a_schema_that_there_is() -> None:
    """And each schema came with at least one."""
    came = {kind.since(name) for kind in Strict.__subclasses__() for name in kind.model_fields}
    assert came == set(SCHEMAS)


@pytest.mark.parametrize(
    ("field", "of", "since"),
    [
        ("aps_quantiles", lambda level: level["calibration"], 2),
        ("out_of_distribution", lambda level: level["calibration"], 2),
        ("shared", lambda level: level, 2),
        ("roundings", lambda level: level, 3),
        ("members", lambda level: level, 4),
        ("mean_network", lambda level: level, 4),
        ("coverage", lambda level: level, 4),
        ("abstained", lambda level: level["metrics"], 4),
        ("edges", lambda level: level["reference"], 4),
        ("test_images", lambda level: level["metrics"], 4),
        ("images", lambda level: level["calibration"], 4),
        ("folds", lambda level: level["calibration"], 4),
    ],
)
def test_a_field_is_there_from_its_schema_on_and_never_before(field: str, of: Any, since: int) -> None:
    for schema in SCHEMAS:
        document = golden(schema)
        place = of(document["levels"][0])
        assert (field in place) == (schema >= since)
        if schema >= since:
            del place[field]
            says = f"levels.0.*{field} is missing: schema version {since} requires it"
        else:
            place[field] = of(golden(since)["levels"][0])[field]
            says = f"levels.0.*{field} needs schema version {since}, this is {schema}"
        with pytest.raises(ManifestError, match=says):
            read_manifest(json.dumps(document).encode())


def test_newer_ones_are_refused_by_name() -> None:
    newer = golden(SCHEMA_VERSION) | {"schema_version": SCHEMA_VERSION + 1}
    with pytest.raises(NewerSchemaError, match=f"schema version {SCHEMA_VERSION + 1}.*reads up to {SCHEMA_VERSION}"):
        read_manifest(json.dumps(newer).encode())


if __name__ == "__main__":  # writes the newest schema down, once
    with (GOLDEN_FOLDER / f"schema-v{SCHEMA_VERSION}.json").open("x") as file:
        file.write(json.dumps(shape(SCHEMA_VERSION), indent=2) + "\n")
