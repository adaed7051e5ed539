"""A version as one file: what comes out is what went in, or nothing."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store.errors import NewerSchemaError, StoreError, VerificationError
from model_store.store import Store
from model_store.transfer import read_archive, write_archive
from tests.support.stores import Filled

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def archive(filled: Filled, tmp_path: Path) -> Path:
    path = tmp_path / "digits.tar"
    write_archive(filled.store, "digits", filled.new, path)
    return path


def test_what_comes_out_is_what_went_in(filled: Filled, archive: Path, tmp_path: Path) -> None:
    manifest, files, signature = read_archive(archive)
    assert manifest == filled.store.manifest("digits", filled.new)
    assert files == {"dense": b"dense:second", "p80": b"p80:second"}
    assert signature is None
    write_archive(filled.store, "digits", filled.new, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_it_unpacks_to_a_store(filled: Filled, archive: Path, tmp_path: Path) -> None:
    """With any tar, for people without this program."""
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "unpacked", filter="data")
    assert Store.open(tmp_path / "unpacked").verify("digits", filled.new).version == filled.new


def test_an_altered_version_is_not_written(filled: Filled, tmp_path: Path) -> None:
    filled.level_file(filled.new).write_bytes(b"p80:secund")
    with pytest.raises(VerificationError, match="p80 was altered"):
        write_archive(filled.store, "digits", filled.new, tmp_path / "digits.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    with pytest.raises(StoreError, match=r"cannot write .*No such file"):
        write_archive(filled.store, "digits", filled.old, tmp_path / "missing" / "digits.tar")


def drop(members: Members) -> Members:
    return members[:-1]


def swap(members: Members) -> Members:
    return members[::-1]


def repeat(members: Members) -> Members:
    return members + members


def leave_the_folder(members: Members) -> Members:
    members[1][0].name = "../../" + members[1][0].name
    return members


def link(members: Members) -> Members:
    members[1][0].type, members[1][0].linkname, members[1][0].size = tarfile.SYMTYPE, "/etc/passwd", 0
    return members


def alter(members: Members) -> Members:
    return [*members[:-1], (members[-1][0], members[-1][1][:-1] + b"!")]


def swell(members: Members) -> Members:
    members[-1][0].size = 3 * 10**6
    return [*members[:-1], (members[-1][0], b"0" * 3 * 10**6)]


def misname(members: Members) -> Members:
    for member, _ in members:
        member.name = member.name.replace("digits/", "letters/")
    return members


def age(members: Members) -> Members:
    data = members[0][1].replace(b'"schema_version": 4', b'"schema_version": 9999')
    members[0][0].size = len(data)
    return [(members[0][0], data), *members[1:]]


FORGERIES: dict[str, tuple[Callable[[Members], Members], type[StoreError], str]] = {
    "a level missing": (drop, VerificationError, "lacks the file of level p80"),
    "the manifest last": (swap, VerificationError, "does not begin with a manifest"),
    "two versions": (repeat, VerificationError, "more than one version"),
    "a path outside": (leave_the_folder, VerificationError, "lacks the file of level dense"),
    "a link": (link, VerificationError, "not a regular file"),
    "an altered file": (alter, VerificationError, "p80 was altered"),
    "a longer file": (swell, VerificationError, "has more bytes"),
    "another model": (misname, VerificationError, "manifest of digits/.* at 'letters"),
    "a newer schema": (age, NewerSchemaError, "upgrade"),
}


@pytest.mark.parametrize(("forge", "kind", "message"), FORGERIES.values(), ids=FORGERIES.keys())
def test_forged_archives_are_refused(
    archive: Path, forge: Callable[[Members], Members], kind: type[StoreError], message: str
) -> None:
    with tarfile.open(archive) as opened:
        files = [(member, opened.extractfile(member)) for member in opened.getmembers()]
        members = [(member, file.read()) for member, file in files if file is not None]
    with tarfile.open(archive, "w") as opened:
        for member, data in forge(members):
            opened.addfile(member, io.BytesIO(data))
    with pytest.raises(kind, match=message):
        read_archive(archive)


def test_every_cut_is_noticed(archive: Path) -> None:
    """However much of it arrived, but for the padding at the end."""
    whole = archive.read_bytes()
    end = whole.rindex(b"p80:second") + len(b"p80:second")
    for length in [0, 1, 511, 512, 513, *range(1024, end, 509), end - 1]:
        os.truncate(archive, length)
        with pytest.raises(StoreError):
            read_archive(archive)
        archive.write_bytes(whole)
    assert read_archive(archive)[1]["p80"] == b"p80:second"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x1f\x8b\x08" + bytes(600), b"x" * 2000])
def test_other_files_are_no_archives(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.tar"
    path.write_bytes(content)
    with pytest.raises(VerificationError, match=r"no archive|does not begin"):
        read_archive(path)
    with pytest.raises(StoreError, match="cannot read"):
        read_archive(tmp_path / "missing.tar")
