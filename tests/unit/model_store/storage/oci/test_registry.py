"""URLs of registries: which are refused, and why."""

from __future__ import annotations

import pytest

from model_store.errors import StoreNotFoundError
from model_store.location import objects_at


def test_urls() -> None:
    assert objects_at("oci://registry.example.org/vision/").url == "oci://registry.example.org/vision"
    assert objects_at("oci+http://10.0.0.1:5000/a/b").url == "oci+http://10.0.0.1:5000/a/b"
    wrong = ("oci://", "oci://host", "oci://host/", "oci://ann:secret@host/a", "oci://host/A", "oci://host/a:tag")
    for url in (*wrong, "oci://host/a//b", "oci://host/../b", "oci://host:port/a", "oci://ho st/a"):
        with pytest.raises(StoreNotFoundError, match=r"expected oci://HOST\[:PORT\]/REPOSITORY") as caught:
            objects_at(url)
        assert "secret" not in str(caught.value)
