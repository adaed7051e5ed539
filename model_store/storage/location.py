"""Open the storage at a location: a folder, the URL of a bucket or a registry, or the bundled zoo by its name."""

from __future__ import annotations

import os
from pathlib import Path

from model_store.errors import ObjectError, StoreError, StoreNotFoundError
from model_store.storage.bucket import SCHEMES as BUCKETS
from model_store.storage.bucket import BucketStorage
from model_store.storage.local import LocalStorage
from model_store.storage.object_storage import ObjectStorage

REGISTRIES = ("oci", "oci+http")
# Part of the distribution, so that there is something to serve and to compare before anything is trained.
ZOO = Path(__file__).parents[1] / "zoo"
ZOO_NAME = "zoo"
ZOO_IS_READ_ONLY = "the zoo that comes with Slimbayes cannot be changed; a folder of that name is ./zoo"


class ZooStorage(LocalStorage):
    """Read the bundled zoo, and refuse to change it."""

    def __init__(self) -> None:
        super().__init__(ZOO)

    def check(self, *, writable: bool = False) -> None:
        if writable:
            raise StoreError(ZOO_IS_READ_ONLY)
        super().check()

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        raise ObjectError(ZOO_IS_READ_ONLY)

    def delete(self, name: str) -> None:
        raise ObjectError(ZOO_IS_READ_ONLY)


def open_store_location(location: str | os.PathLike[str]) -> ObjectStorage:
    """Open the storage of a store without accessing it: the zoo for the text `zoo`, else as `open_storage` does."""
    return ZooStorage() if location == ZOO_NAME else open_storage(location)


def open_storage(location: str | os.PathLike[str]) -> ObjectStorage:
    """Open the storage at a path or URL without accessing it; raise StoreNotFoundError for an unknown kind of URL."""
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
        f"{scheme}:// is no store: expected a folder, the URL of one with s3://, gs://, az:// or oci://, or zoo"
    )


def default_location() -> str:
    """Return the store to read by default: `store` in the working directory if it exists, else the zoo."""
    return "store" if os.path.exists("store") else str(ZOO)
