"""URLs and endpoints of buckets: which are refused, and why."""

from __future__ import annotations

import pytest

from model_store.errors import StoreNotFoundError
from model_store.storage.bucket import BucketStorage
from model_store.storage.location import open_storage
from model_store.store import Store


def test_urls() -> None:
    assert BucketStorage("s3://models/a/b/").url == open_storage("s3://models/a/b").url == "s3://models/a/b"
    assert [open_storage(f"{scheme}://models").url for scheme in ("gs", "az")] == ["gs://models", "az://models"]
    for wrong in ("s3://", "s3://key:secret@models/a", "gs://Not a bucket", "s3://models/a?region=b"):
        with pytest.raises(StoreNotFoundError, match=r"expected .*://BUCKET/FOLDER") as caught:
            open_storage(wrong)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://127.0.0.1", "https://"])
def test_an_endpoint_that_is_none(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StoreNotFoundError, match="endpoint of s3:// must be a URL"):
        Store.open("s3://models")
