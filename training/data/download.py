"""Data sets that are fetched: an archive with a known checksum, whose download goes on where it broke.

FOLDER/NAME.part   what has arrived of the archive
FOLDER/NAME        the archive, whole and checked; one that was put there by hand is taken as well
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
# Attempts in a row that bring no new byte, and the pause after the first of them, which doubles.
MAX_ATTEMPTS = 4
FIRST_PAUSE_S = 1.0
# The server's own trouble, which may be over in a moment; and answers to what lies here, which begins anew then.
RETRYABLE_STATUSES, RESTART_STATUSES = (429, 500, 502, 503, 504), (206, 416)


@dataclass(frozen=True)
class RemoteArchive:
    """A tar archive, plain or compressed by gzip, of so many bytes; `files` in its folder `root` are what is wanted."""

    url: str
    sha256: str
    size_bytes: int
    root: str
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the archive itself, as its address ends."""
        return self.url.rsplit("/", 1)[-1]


def fetch(archive: RemoteArchive, folder: Path) -> Path:
    """The folder `root` in `folder` with the archive's files, downloaded and unpacked where it is not there yet.

    Processes that fetch at the same time wait for the first. Raises DataError where it cannot be had: no network, an
    error of the server's, another content, a full disk.
    """
    place = folder / archive.root
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{archive.name}.lock"):
            if not all((place / file).is_file() for file in archive.files):
                if place.exists():
                    raise DataError(f"{place} is incomplete: remove it, so that it can be fetched anew")
                _unpack(archive, _downloaded(archive, folder), place)
    except OSError as error:
        raise DataError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error
    return place


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that goes with a file; it ends with the process at the latest."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _downloaded(archive: RemoteArchive, folder: Path) -> Path:
    """The archive in `folder`, whole and checked."""
    path, part = folder / archive.name, folder / f"{archive.name}.part"
    if path.is_file() and _checksum(path) == archive.sha256:
        return path
    resumed = _size(part) > 0
    _download(archive, part)
    if resumed and _checksum(part) != archive.sha256:
        # What lay there was the part of something else.
        part.unlink()
        _download(archive, part)
    if (found := _checksum(part)) != archive.sha256:
        part.unlink()
        raise DataError(f"{archive.url} has SHA-256 {found}, expected {archive.sha256}: the download was removed")
    part.replace(path)
    return path


def _download(archive: RemoteArchive, part: Path) -> None:
    """Add to `part` until it is whole, each time from where the connection broke."""
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
    """Write what one request brings; returns why there was no more of it."""
    have = _size(part)
    try:
        with client.stream("GET", archive.url, headers={"Range": f"bytes={have}-"} if have else {}) as response:
            if response.status_code == httpx.codes.OK:  # from its start, whatever was asked for
                _write(response, archive, part, 0, stage)
            elif response.status_code == httpx.codes.PARTIAL_CONTENT and _begins_at(response, have):
                _write(response, archive, part, have, stage)
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
    """Put the answer's bytes into `part` from `start` on."""
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
    """Write the files that are wanted and no others, under names of our own, next to `place`; then rename."""
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
