"""Everything that can go wrong in the store.

    StoreError
    ├── StoreNotFoundError      the store itself is not there
    ├── NotInStoreError         no such model, version, level or alias
    ├── VersionExistsError      a version of that name was published before
    ├── InvalidNameError        a name that cannot be a model, level or alias
    ├── ManifestError           a manifest that cannot be read
    │   └── NewerSchemaError    written by a newer Slimbayes
    ├── VerificationError       a file is missing, altered or outside its folder
    │   └── SignatureError          not signed by anyone who is trusted, or changed since
    ├── SigningKeyError         a file that has no key to sign or to verify with
    └── ObjectError             an object cannot be read or written
        ├── ObjectNotFoundError     there is none of that name
        ├── ObjectExistsError       there is one of that name
        └── StoreUnavailableError          the store does not answer now; it may soon

Messages name models, versions and levels, never paths, so that a service can pass them on;
only StoreNotFoundError and SigningKeyError name what the operator gave.
"""


class StoreError(Exception):
    """Root of the store's errors."""


class StoreNotFoundError(StoreError):
    """The store itself is not there or cannot be read."""


class NotInStoreError(StoreError):
    """No such model, version, level or alias."""


class VersionExistsError(StoreError):
    """A version of that name was published before; versions are immutable."""


class InvalidNameError(StoreError):
    """A name that cannot be a model, version, level or alias."""


class ManifestError(StoreError):
    """A manifest that cannot be read."""


class NewerSchemaError(ManifestError):
    """A manifest written by a newer Slimbayes."""


class VerificationError(StoreError):
    """A file of a version is missing, altered or outside its folder."""


class SignatureError(VerificationError):
    """A version is not signed by anyone who is trusted, or was changed since."""


class SigningKeyError(StoreError):
    """A file has no key to sign or to verify with."""


class ObjectError(StoreError):
    """An object cannot be read or written; the message says why, in a few words."""


class ObjectNotFoundError(ObjectError):
    """There is no object of that name."""


class ObjectExistsError(ObjectError):
    """There is an object of that name already."""


class StoreUnavailableError(ObjectError):
    """The store does not answer now; it may soon."""
