"""Copy a version between stores, or to and from one archive for offline transfer.

An archive is a tar of the version's folder:

    MODEL/VERSION/manifest.json      first, so that a reader knows what follows
    MODEL/VERSION/signature.json     where the version is signed
    MODEL/VERSION/LEVEL/model.onnx

It does not depend on who made it or when: the same version gives the same bytes.
"""

from __future__ import annotations

import io
import os
import secrets
import tarfile
from pathlib import Path

from model_store.errors import StoreError, VerificationError
from model_store.manifest import MANIFEST, MANIFEST_READ_BYTES, Manifest, read_manifest
from model_store.manifest.integrity import check_bytes
from model_store.signing import MAX_SIGNATURE_BYTES, SIGNATURE
from model_store.storage.object_storage import TEMP_PREFIX
from model_store.store import Store


def transfer(
    source: Store, target: Store, model: str, version: str, *, new_classes: bool = False
) -> tuple[Manifest, bool]:
    """Copy a verified version with its signature; return its manifest, and whether it was new to the target.

    A repeated attempt sends what is missing. Raises OtherClassesError without `new_classes` where the target's newest
    version of the model has other classes, and StoreError where either store fails.
    """
    manifest, signature = source.manifest(model, version), source.signature(model, version)
    if version in target.listing(model).versions:
        target.verify(model, version)
        if signature is not None and target.signature(model, version) is None:
            target.attach(manifest, signature)
        return manifest, False
    if not new_classes:  # before anything is read that may be large
        target.check_classes(model, manifest.classes)
    files = {level.name: source.read_level(manifest, level.name) for level in manifest.levels}
    target.publish(manifest, files, signature, new_classes=new_classes)
    return manifest, True


def write_archive(store: Store, model: str, version: str, path: Path) -> Manifest:
    """Write a verified version to `path` atomically; raise StoreError on failure."""
    manifest = store.manifest(model, version)
    staged = path.with_name(f"{TEMP_PREFIX}{secrets.token_hex(8)}")
    try:
        with staged.open("xb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                _add(archive, f"{model}/{version}/{MANIFEST}", manifest.to_json())
                if (signature := store.signature(model, version)) is not None:
                    _add(archive, f"{model}/{version}/{SIGNATURE}", signature)
                for level in manifest.levels:
                    _add(archive, f"{model}/{version}/{level.file}", store.read_level(manifest, level.name))
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    finally:
        staged.unlink(missing_ok=True)
    return manifest


def read_archive(path: Path) -> tuple[Manifest, dict[str, bytes], bytes | None]:
    """Read an archive: the manifest, the verified bytes of each level's file, and the unverified signature or None.

    Nothing is unpacked. Raises VerificationError for anything but exactly one version as `write_archive` writes it.
    """
    try:
        with tarfile.open(path, mode="r:") as archive:
            manifest, folder = _manifest(archive)
            files, signature, member = dict[str, bytes](), None, archive.next()
            if member is not None and member.name == f"{folder}/{SIGNATURE}":
                signature, member = _bytes(archive, member, MAX_SIGNATURE_BYTES), archive.next()
            for level in manifest.levels:
                if member is None or member.name != f"{folder}/{level.file}":
                    raise VerificationError(f"the archive lacks the file of level {level.name}")
                files[level.name] = _bytes(archive, member, level.bytes + 1)
                check_bytes(level, files[level.name])
                member = archive.next()
            if member is not None:
                raise VerificationError(f"the archive has more than one version: {member.name!r}")
            return manifest, files, signature
    except (tarfile.TarError, EOFError) as error:
        raise VerificationError(f"{path} is no archive of a version") from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _manifest(archive: tarfile.TarFile) -> tuple[Manifest, str]:
    member = archive.next()
    if member is None or not member.name.endswith(f"/{MANIFEST}"):
        raise VerificationError("the archive does not begin with a manifest")
    manifest = read_manifest(_bytes(archive, member, MANIFEST_READ_BYTES))
    folder = f"{manifest.model}/{manifest.version}"
    if member.name != f"{folder}/{MANIFEST}":
        raise VerificationError(f"the archive has the manifest of {folder} at {member.name!r}")
    return manifest, folder


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise VerificationError(f"{member.name!r} in the archive is not a regular file")
    data = file.read(min(limit, member.size))
    if len(data) < min(limit, member.size):
        raise VerificationError(f"the archive ends within {member.name!r}")
    return data


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))
