"""Download archives with a known checksum, resuming interrupted transfers.

FOLDER/NAME.part   the part of the archive received so far
FOLDER/NAME        the archive, complete and verified; a file put there by hand is verified and used as well
FOLDER/ROOT        its files, renamed into place once all are written
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from training.errors import DataError
from training.progress import Stage

REQUEST_TIMEOUT = httpx.Timeout(30.0, connect=15.0)
# Consecutive attempts without a new byte, and the pause after the first of them, which doubles.
MAX_ATTEMPTS = 4
FIRST_PAUSE_S = 1.0
# Transient server errors; and responses that do not fit the partial file, after which the download starts over.
RETRYABLE_STATUSES, RESTART_STATUSES = (429, 500, 502, 503, 504), (206, 416)


@dataclass(frozen=True)
class RemoteArchive:
    """A tar archive, plain or gzipped, of `size_bytes`; `files` in its folder `root` are extracted."""

    url: str
    sha256: str
    size_bytes: int
    root: str
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the file name of the archive, from its URL."""
        return self.url.rsplit("/", 1)[-1]


def fetch(archive: RemoteArchive, folder: Path) -> Path:
    """Download and unpack the archive unless its folder `root` exists in `folder`; return that folder.

    Concurrent processes wait for the first. Raises DataError for a network or server error, content with another
    checksum, or a full disk.
    """
    place = folder / archive.root
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{archive.name}.lock"):
            if not all((place / file).is_file() for file in archive.files):
                if place.exists():
                    raise DataError(f"{place} is incomplete: remove it, so that it can be downloaded again")
                _unpack(archive, _downloaded(archive, folder), place)
    except OSError as error:
        raise DataError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error
    return place


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system releases it if the process ends."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _downloaded(archive: RemoteArchive, folder: Path) -> Path:
    """Return the path of the archive in `folder`, complete and verified."""
    path, part = folder / archive.name, folder / f"{archive.name}.part"
    if path.is_file() and _checksum(path) == archive.sha256:
        return path
    resumed = _size(part) > 0
    _download(archive, part)
    if resumed and _checksum(part) != archive.sha256:
        # The resumed part was of another file.
        part.unlink()
        _download(archive, part)
    if (found := _checksum(part)) != archive.sha256:
        part.unlink()
        raise DataError(f"{archive.url} has SHA-256 {found}, expected {archive.sha256}: the download was removed")
    part.replace(path)
    return path


def _download(archive: RemoteArchive, part: Path) -> None:
    """Append to `part` until it is complete, resuming after every interruption."""
    furthest, idle = _size(part), 0
    with (
        Stage(f"downloading {archive.name}", archive.size_bytes) as stage,
        httpx.Client(timeout=REQUEST_TIMEOUT, follow_redirects=True, headers={"Accept-Encoding": "identity"}) as client,
    ):
        while _size(part) < archive.size_bytes:
            reason = _receive(client, archive, part, stage)
            furthest, idle = (_size(part), 0) if _size(part) > furthest else (furthest, idle + 1)
            if idle == MAX_ATTEMPTS:
                instead = f"try again, or put {archive.name} into {part.parent} yourself"
                raise DataError(f"cannot fetch {archive.url}: {reason}; {instead}")
            if idle:
                time.sleep(FIRST_PAUSE_S * 2 ** (idle - 1))


def _receive(client: httpx.Client, archive: RemoteArchive, part: Path, stage: Stage) -> str:
    """Write the data of one request; return the reason why it ended."""
    received = _size(part)
    try:
        with client.stream("GET", archive.url, headers={"Range": f"bytes={received}-"} if received else {}) as response:
            if response.status_code == httpx.codes.OK:  # the whole file, whatever range was requested
                _write(response, archive, part, 0, stage)
            elif response.status_code == httpx.codes.PARTIAL_CONTENT and _begins_at(response, received):
                _write(response, archive, part, received, stage)
            elif response.status_code in RESTART_STATUSES:
                part.unlink(missing_ok=True)
                return _status(response)
            elif response.status_code in RETRYABLE_STATUSES:
                return _status(response)
            else:
                raise DataError(f"cannot fetch {archive.url}: {_status(response)}")
    except httpx.RequestError as error:
        return str(error) or type(error).__name__
    return "the connection was closed early"


def _write(response: httpx.Response, archive: RemoteArchive, part: Path, start: int, stage: Stage) -> None:
    """Write the response's bytes into `part` from offset `start`."""
    announced = start + int(response.headers.get("Content-Length", archive.size_bytes - start))
    with part.open("ab" if start else "wb") as file:
        _show(stage, start)
        for chunk in response.iter_raw():
            if announced != archive.size_bytes or file.tell() + len(chunk) > archive.size_bytes:
                raise DataError(f"{archive.url} is another file: expected {archive.size_bytes:,} bytes")
            file.write(chunk)
            _show(stage, file.tell())


def _begins_at(response: httpx.Response, start: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def _show(stage: Stage, done: int) -> None:
    stage.advance(done - stage.done, f"{done / 1e6:,.0f} of {stage.total / 1e6:,.0f} MB")


def _status(response: httpx.Response) -> str:
    return f"the server answered {response.status_code} {response.reason_phrase}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(archive: RemoteArchive, path: Path, place: Path) -> None:
    """Extract only the archive's `files` into a temporary folder beside `place`, then rename it."""
    unfinished = place.with_name(f".{place.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    missing = {f"{archive.root}/{file}": file for file in archive.files}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isreg() and member.name in missing else None
                if source is not None:
                    with source, (unfinished / missing.pop(member.name)).open("wb") as target:
                        shutil.copyfileobj(source, target)
        if missing:
            raise DataError(f"{path} does not hold {', '.join(missing)}")
        unfinished.rename(place)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or not a tar archive: {error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
