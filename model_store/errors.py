"""Define the store's errors.

    StoreError
    ├── StoreNotFoundError      the store does not exist
    ├── NotInStoreError         no such model, version, level or alias
    ├── VersionExistsError      a version of that name was published before
    ├── OtherClassesError       a version with other classes than its model's newest
    ├── InvalidNameError        not a valid name of a model, level or alias
    ├── ManifestError           a manifest that cannot be read
    │   └── NewerSchemaError        written by a newer Slimbayes
    ├── VerificationError       a file is missing, altered or outside its folder
    │   └── SignatureError          not signed with a trusted key, or changed since
    ├── SigningKeyError         a file without a key to sign or to verify with
    └── ObjectError             an object cannot be read or written
        ├── ObjectNotFoundError     no object of that name
        ├── ObjectExistsError       an object of that name exists
        └── StoreUnavailableError   the store is unreachable; trying again may help

Messages name models, versions and levels, never paths, so that a service can pass them on;
only StoreNotFoundError and SigningKeyError name what the operator gave.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class StoreError(Exception):
    """Base class of the store's errors."""


class StoreNotFoundError(StoreError):
    """The store does not exist or cannot be read."""


class NotInStoreError(StoreError):
    """No such model, version, level or alias."""


class VersionExistsError(StoreError):
    """A version of that name was published before; versions are immutable."""


class OtherClassesError(StoreError):
    """A version has other classes than its model's newest version, and nobody said that it may."""


class InvalidNameError(StoreError):
    """Not a valid name of a model, version, level or alias."""


class ManifestError(StoreError):
    """A manifest that cannot be read."""


class NewerSchemaError(ManifestError):
    """A manifest written by a newer Slimbayes."""


class VerificationError(StoreError):
    """A file of a version is missing, altered or outside its folder."""


class SignatureError(VerificationError):
    """A version is not signed with a trusted key, or was changed since."""


class SigningKeyError(StoreError):
    """A file contains no key to sign or to verify with."""


class ObjectError(StoreError):
    """An object cannot be read or written; the message says why, in a few words."""


class ObjectNotFoundError(ObjectError):
    """No object has that name."""


class ObjectExistsError(ObjectError):
    """An object of that name exists already."""


class StoreUnavailableError(ObjectError):
    """The store is unreachable now; trying again may help."""


@contextmanager
def error_context(what: str) -> Iterator[None]:
    """Prefix the message of an object's error with what it prevented."""
    try:
        yield
    except ObjectError as error:
        raise type(error)(f"{what}: {error}") from error
