"""Where a store is: a folder, or the URL of something that keeps objects."""

from __future__ import annotations

import os
from pathlib import Path

from model_store.errors import StoreNotFoundError
from model_store.storage.bucket import SCHEMES as BUCKETS
from model_store.storage.bucket import BucketStorage
from model_store.storage.local import LocalStorage
from model_store.storage.object_storage import ObjectStorage

REGISTRIES = ("oci", "oci+http")
# Comes with the distribution, so that there is something to serve and to compare before anything was trained.
ZOO = Path(__file__).parents[1] / "zoo"


def open_storage(location: str | os.PathLike[str]) -> ObjectStorage:
    """What lies at a path or URL; nothing is asked of it yet.

    Raises StoreNotFoundError for a kind of place that is not known.
    """
    text = os.fspath(location)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return LocalStorage(Path(text))
    if scheme == "file":
        return LocalStorage(Path(rest))
    if scheme in BUCKETS:
        return BucketStorage(text)
    if scheme in REGISTRIES:
        from model_store.storage.oci.registry import RegistryStorage

        return RegistryStorage(text)
    raise StoreNotFoundError(
        f"{scheme}:// is no store: expected a folder, or the URL of one with s3://, gs://, az:// or oci://"
    )


def default_location() -> str:
    """Where to read when nobody said: the store in the working directory, else the zoo."""
    return "store" if os.path.exists("store") else str(ZOO)
