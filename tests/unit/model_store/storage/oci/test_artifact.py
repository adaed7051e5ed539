"""How a registry names and describes what lies in a store, and what of its own is passed over."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from model_store.aliases import Change
from model_store.storage.oci.artifact import editions_of, layer_of, locate, object_artifact, read_artifact


def test_tags() -> None:
    """Each object has a tag that registries allow, and no two that are not of one version have the same."""
    longest = Change(datetime(2199, 12, 31, 23, 59, 59, 999999, UTC), "a" * 32, "99991231-235959-ffffff")
    paths = [longest.name, "aliases/a/b.json", "a.b", "a/b", "20261123-120000-abcdef", "x" * 1000]
    tags = [locate(path)[0] for path in paths]
    assert tags[0] == f"aliases.{'a' * 32}.21991231-235959-999999.99991231-235959-ffffff"
    assert all(len(tag) <= 128 and not set(tag) & set("/:") for tag in tags)
    assert len(set(tags)) == len(tags)
    assert locate("20261123-120000-abcdef/p80/model.onnx") == ("20261123-120000-abcdef", "p80/model.onnx")


def test_foreign_tags_are_passed_over() -> None:
    tags = ["latest", "sha256-0.sig", "20261123-120000-abcdef.0123", "20261124-120000-abcdef", "aliases.a", "object-1"]
    assert set(editions_of(tags)) == {"20261124-120000-abcdef", "aliases.a", "object-1"}
    later = editions_of([*tags, "20261124-120000-abcdef.0123"])
    assert later["20261124-120000-abcdef"] == {"20261124-120000-abcdef.0123"}


@pytest.mark.parametrize("title", ["../a", "/a", "a//b", "./a", "", "a/.."])
def test_titles_that_lead_elsewhere_are_passed_over(title: str) -> None:
    layer = layer_of(title, f"sha256:{'0' * 64}", 1)
    found = read_artifact(object_artifact(layer).to_json())
    assert found is not None
    assert found.objects == {}


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"schemaVersion": 2, "layers": 1}', b"\0"])
def test_manifests_that_are_none_are_passed_over(data: bytes) -> None:
    assert read_artifact(data) is None
