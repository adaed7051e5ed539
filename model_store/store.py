"""Models, versions and aliases on a file system.

A version is written into a staging folder, flushed to disk and renamed into place: it is there whole or not at all.
The staging folder is locked while its publisher lives, so that collection can tell a crash from work in progress.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from model_store.errors import ManifestError, NotInStoreError, StoreError, StoreNotFoundError, VersionExistsError
from model_store.manifest import Manifest, read_manifest
from model_store.verification import check_bytes, read_inside
from model_store.version import check_alias, check_model_name, is_model_name, is_version_name

MANIFEST = "manifest.json"
ALIASES = "aliases.json"
STAGING_PREFIX = ".publish-"
# Comes with the distribution, so that there is something to serve and to compare before anything was trained.
ZOO = Path(__file__).parent / "zoo"


class Store:
    """The store in folder `root`; `Store.open` wants it to exist, `Store.create` makes it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def open(cls, root: Path) -> Store:
        """Open an existing store; raise StoreNotFoundError where there is none or it cannot be read."""
        if not os.path.isdir(root):
            raise StoreNotFoundError(
                f"there is no store at {root}: expected a folder that `slimbayes prune` published to"
            )
        if not os.access(root, os.R_OK | os.X_OK, effective_ids=True):
            raise StoreNotFoundError(f"the store at {root} cannot be read: check its permissions")
        return cls(root)

    @classmethod
    def create(cls, root: Path) -> Store:
        """Open the store in `root`, making the folder where it is missing."""
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make a store at {root}: {error.strerror}") from error
        if not os.access(root, os.W_OK, effective_ids=True):
            raise StoreError(f"cannot write to the store at {root}: check its permissions")
        return cls.open(root)

    # Reading

    def models(self) -> list[str]:
        """Names of all models that have at least one version, sorted."""
        try:
            names = os.listdir(self.root)
        except OSError as error:
            raise StoreError(f"the store cannot be read: {error.strerror}") from error
        return sorted(name for name in names if is_model_name(name) and self._version_names(name))

    def versions(self, model: str) -> list[str]:
        """Names of a model's versions, oldest first; raise NotInStoreError for an unknown model."""
        names = self._version_names(check_model_name(model))
        if not names:
            raise NotInStoreError(f"no model {model!r} in the store: it has {_listing(self.models())}")
        return names

    def manifest(self, model: str, version: str) -> Manifest:
        """The manifest of one version, which must describe the folder that it lies in."""
        if version not in self.versions(model):
            raise NotInStoreError(f"model {model} has no version {version!r}: it has {_listing(self.versions(model))}")
        try:
            data = (self._folder(model, version) / MANIFEST).read_bytes()
        except OSError as error:
            raise ManifestError(f"the manifest of {model} {version} cannot be read: {error.strerror}") from error
        manifest = read_manifest(data)
        if (manifest.model, manifest.version) != (model, version):
            raise StoreError(f"the manifest of {model} {version} is that of {manifest.model} {manifest.version}")
        return manifest

    def read_level(self, manifest: Manifest, level: str) -> bytes:
        """The verified bytes of one level's file; raise VerificationError where they are not what was published."""
        entry = manifest.level(level)
        if entry is None:
            known = _listing([known.name for known in manifest.levels])
            raise NotInStoreError(
                f"version {manifest.version} of {manifest.model} has no level {level!r}: it has {known}"
            )
        data = read_inside(self._folder(manifest.model, manifest.version), entry)
        check_bytes(entry, data)
        return data

    def verify(self, model: str, version: str) -> Manifest:
        """Read every file of a version against its checksum and return the manifest; raise StoreError otherwise."""
        manifest = self.manifest(model, version)
        for level in manifest.levels:
            self.read_level(manifest, level.name)
        return manifest

    def aliases(self, model: str) -> dict[str, str]:
        """The aliases of a model: name to version."""
        path = self.root / check_model_name(model) / ALIASES
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise StoreError(f"the aliases of {model} are not JSON: {error}") from error
        except OSError as error:
            raise StoreError(f"the aliases of {model} cannot be read: {error.strerror}") from error
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise StoreError(f"the aliases of {model} must be an object of name to version")
        return found

    def resolve(self, model: str, name: str | None = None) -> str:
        """The version that `name` means: a version, an alias, or by default `production` and else the newest."""
        versions, aliases = self.versions(model), self.aliases(model)
        if name is None:
            return aliases.get("production", versions[-1])
        version = aliases.get(name, name)
        if version not in versions:
            known = _listing(versions + sorted(aliases))
            raise NotInStoreError(f"model {model} has no version or alias {name!r}: it has {known}")
        return version

    # Writing

    def publish(self, manifest: Manifest, files: Mapping[str, bytes]) -> None:
        """Publish one version: its manifest and the bytes of each level's file, by level name.

        Raises VersionExistsError where the version is there already, VerificationError where a file is not what its
        manifest says. Whatever happens, the store has the whole version or nothing of it.
        """
        if set(files) != {level.name for level in manifest.levels}:
            raise StoreError("publish needs exactly one file for each level of the manifest")
        for level in manifest.levels:
            check_bytes(level, files[level.name])
        target = self._folder(manifest.model, manifest.version)
        with self._staging(manifest.model) as staging:
            for level in manifest.levels:
                path = staging / level.file
                path.parent.mkdir()
                _write_durably(path, files[level.name])
                _flush_folder(path.parent)
            _write_durably(staging / MANIFEST, manifest.to_json())
            _flush_folder(staging)
            try:
                staging.rename(target)
            except OSError as error:
                if target.exists():
                    raise VersionExistsError(f"{manifest.model} {manifest.version} is in the store already") from error
                raise StoreError(f"cannot publish {manifest.model}: {error.strerror}") from error
            _flush_folder(target.parent)
            _flush_folder(self.root)

    def set_alias(self, model: str, alias: str, name: str) -> str:
        """Point `alias` at the version that `name` (a version or another alias) means now, and return that version."""
        check_alias(alias)
        folder = self.root / check_model_name(model)
        self.versions(model)
        staged = folder / f"{STAGING_PREFIX}{secrets.token_hex(8)}.json"
        try:
            with locked(folder):
                version = self.resolve(model, name)
                aliases = self.aliases(model) | {alias: version}
                try:
                    _write_durably(staged, json.dumps(aliases, indent=2, sort_keys=True).encode() + b"\n")
                    staged.replace(folder / ALIASES)
                finally:
                    staged.unlink(missing_ok=True)
                _flush_folder(folder)
        except OSError as error:
            raise StoreError(f"cannot set alias {alias} of {model}: {error.strerror}") from error
        return version

    # Layout

    def _folder(self, model: str, version: str) -> Path:
        return self.root / model / version

    def _version_names(self, model: str) -> list[str]:
        try:
            entries = list((self.root / model).iterdir())
            return sorted(e.name for e in entries if is_version_name(e.name) and (e / MANIFEST).is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(f"model {model} cannot be read: {error.strerror}") from error

    @contextmanager
    def _staging(self, model: str) -> Iterator[Path]:
        folder = self.root / check_model_name(model)
        staging = folder / f"{STAGING_PREFIX}{secrets.token_hex(8)}"
        with ExitStack() as held:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with locked(folder):  # so that collection never sees a staging folder without its lock
                    staging.mkdir()
                    held.enter_context(locked(staging))
            except OSError as error:
                raise StoreError(f"cannot write to the store: {error.strerror}") from error
            try:
                yield staging
            except OSError as error:
                raise StoreError(f"cannot publish {model}: {error.strerror}") from error
            finally:
                shutil.rmtree(staging, ignore_errors=True)


def default_root(here: Path = Path("store")) -> Path:
    """Where to read when nobody said: the store in the working directory, else the zoo."""
    return here if here.exists() else ZOO


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it when the process dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _listing(names: list[str]) -> str:
    return ", ".join(names) if names else "none"
