"""URLs of registries: which are refused, and why."""

from __future__ import annotations

import pytest

from model_store.errors import StoreNotFoundError
from model_store.storage.location import open_storage


def test_urls() -> None:
    assert open_storage("oci://registry.example.org/vision/").url == "oci://registry.example.org/vision"
    assert open_storage("oci+http://10.0.0.1:5000/a/b").url == "oci+http://10.0.0.1:5000/a/b"
    wrong = ("oci://", "oci://host", "oci://host/", "oci://ann:secret@host/a", "oci://host/A", "oci://host/a:tag")
    for url in (*wrong, "oci://host/a//b", "oci://host/../b", "oci://host:port/a", "oci://ho st/a"):
        with pytest.raises(StoreNotFoundError, match=r"expected oci://HOST\[:PORT\]/REPOSITORY") as caught:
            open_storage(url)
        assert "secret" not in str(caught.value)
