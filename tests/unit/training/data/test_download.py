"""Downloads from a server of this machine: whole, broken, resumed, wrong, and by two at once."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from training.data import download
from training.data.download import RemoteArchive, fetch
from training.errors import DataError

# Random, so that it cannot be compressed and each part of the archive differs from the others.
FILES = {"one.bin": random.Random(0).randbytes(150_000), "two.bin": random.Random(1).randbytes(50_000)}


def tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as writer:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            writer.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


WHOLE = tar({f"set/{name}": content for name, content in FILES.items()} | {"set/readme": b"x", "../evil": b"evil"})


@dataclass
class Server:
    """What a test's server answers with, and what it was asked."""

    content: bytes = WHOLE
    ranges: bool = True  # whether it heeds Range
    cut: int | None = None  # it closes the connection after so many bytes of an answer
    cuts: int = 1  # so many times
    status: list[int] = field(default_factory=list)  # what it answers first, one a request
    announce: bool = True  # whether it says how much comes
    range_from: int = 0  # added to where it says that a part begins
    asked: list[str | None] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        if self.status:
            handler.send_error(self.status.pop(0))
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if start >= len(self.content):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            begin = start + self.range_from
            handler.send_header("Content-Range", f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}")
        if self.announce:
            handler.send_header("Content-Length", str(len(self.content) - start))
        handler.end_headers()
        body = self.content[start:]
        if self.cut is not None and self.cuts > 0:
            self.cuts -= 1
            body = body[: self.cut]
        handler.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    answers = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.answer(self)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        answers.url = f"http://127.0.0.1:{listening.server_port}/set.tar.gz"
        yield answers
        listening.shutdown()
        thread.join()


def of(server: Server, content: bytes = WHOLE) -> RemoteArchive:
    """The archive that is expected of a server."""
    return RemoteArchive(server.url, hashlib.sha256(content).hexdigest(), len(content), "set", tuple(FILES))


def assert_whole(place: Path) -> None:
    assert {file.name: file.read_bytes() for file in place.iterdir()} == FILES


def test_an_archive_is_fetched_checked_and_unpacked(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = fetch(of(server), tmp_path / "deep" / "data")
    assert place == tmp_path / "deep" / "data" / "set"
    assert_whole(place)
    assert server.asked == [None]
    assert sorted(each.name for each in place.parent.iterdir()) == [".set.tar.gz.lock", "set", "set.tar.gz"]
    assert capsys.readouterr().out.startswith("downloading set.tar.gz: done in")


def test_what_lies_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch(of(server), tmp_path)
    fetch(of(server), tmp_path)
    assert len(server.asked) == 1


def test_an_archive_that_was_put_there_by_hand_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz").write_bytes(WHOLE)
    assert_whole(fetch(of(server), tmp_path))
    assert server.asked == []


def test_another_archive_of_that_name_is_fetched_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz").write_bytes(WHOLE[:-1])
    assert_whole(fetch(of(server), tmp_path))
    assert (tmp_path / "set.tar.gz").read_bytes() == WHOLE


@pytest.mark.parametrize("announce", [True, False])
def test_a_broken_connection_is_gone_on_from_where_it_broke(server: Server, tmp_path: Path, announce: bool) -> None:
    server.cut, server.cuts, server.announce = 30_000, 100, announce
    assert_whole(fetch(of(server), tmp_path))
    expected = [None, *(f"bytes={start}-" for start in range(30_000, len(WHOLE), 30_000))]
    assert server.asked == expected


def test_a_download_of_an_earlier_process_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz.part").write_bytes(WHOLE[:1_000])
    assert_whole(fetch(of(server), tmp_path))
    assert server.asked == ["bytes=1000-"]


def test_a_whole_part_needs_no_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz.part").write_bytes(WHOLE)
    assert_whole(fetch(of(server), tmp_path))
    assert server.asked == []


def test_a_server_without_ranges_sends_all_of_it_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut = False, 30_000
    assert_whole(fetch(of(server), tmp_path))
    assert server.asked == [None, "bytes=30000-"]


def test_a_server_without_ranges_that_always_breaks_is_given_up(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut, server.cuts = False, 30_000, 1_000
    with pytest.raises(DataError, match=r"cannot fetch http://127.*; try again, or put set\.tar\.gz into"):
        fetch(of(server), tmp_path)
    assert len(server.asked) == 1 + download.MAX_ATTEMPTS
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("length", [500, len(WHOLE), len(WHOLE) + 1])
def test_a_part_of_something_else_is_dropped(server: Server, tmp_path: Path, length: int) -> None:
    (tmp_path / "set.tar.gz.part").write_bytes(b"\1" * length)
    assert_whole(fetch(of(server), tmp_path))
    assert server.asked[-1] is None


@pytest.mark.parametrize("trouble", ["another range", "refused range"])
def test_a_range_that_was_not_asked_for_is_not_added(server: Server, tmp_path: Path, trouble: str) -> None:
    (tmp_path / "set.tar.gz.part").write_bytes(WHOLE[:1_000])
    if trouble == "another range":
        server.range_from = 7
    else:
        server.status = [416]
    assert_whole(fetch(of(server), tmp_path))
    assert server.asked == ["bytes=1000-", None]


def test_a_passing_trouble_of_the_server_is_waited_out(server: Server, tmp_path: Path) -> None:
    server.status = [503, 429, 500]
    assert_whole(fetch(of(server), tmp_path))
    assert len(server.asked) == 4


def test_a_lasting_trouble_is_given_up(server: Server, tmp_path: Path) -> None:
    server.status = [503] * 10
    with pytest.raises(DataError, match="the server answered 503 Service Unavailable"):
        fetch(of(server), tmp_path)
    assert len(server.asked) == download.MAX_ATTEMPTS


@pytest.mark.parametrize("status", [403, 404])
def test_an_error_of_the_servers_is_told_at_once(server: Server, tmp_path: Path, status: int) -> None:
    server.status = [status] * 10
    with pytest.raises(DataError, match=f"cannot fetch http://.*: the server answered {status}"):
        fetch(of(server), tmp_path)
    assert len(server.asked) == 1


def test_another_content_is_removed_and_told(server: Server, tmp_path: Path) -> None:
    server.content = WHOLE[:-1] + bytes([WHOLE[-1] ^ 1])
    found = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(DataError, match=f"has SHA-256 {found}, expected .*: the download was removed"):
        fetch(of(server), tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [".set.tar.gz.lock"]


@pytest.mark.parametrize("announce", [True, False])
def test_a_longer_content_is_not_read_on(server: Server, tmp_path: Path, announce: bool) -> None:
    server.content, server.announce = WHOLE + b"x" * 1_000_000, announce
    with pytest.raises(DataError, match=f"is another file: expected {len(WHOLE):,} bytes"):
        fetch(of(server), tmp_path)
    part = tmp_path / "set.tar.gz.part"
    assert not part.exists() or part.stat().st_size <= len(WHOLE)


def test_a_page_instead_of_the_archive_is_told(server: Server, tmp_path: Path) -> None:
    expected = of(server)
    server.content = b"<html>Please log in</html>"
    with pytest.raises(DataError, match="is another file"):
        fetch(expected, tmp_path)


def test_no_network_is_told(server: Server, tmp_path: Path) -> None:
    nowhere = replace(of(server), url="http://127.0.0.1:1/set.tar.gz")
    with pytest.raises(DataError, match=r"cannot fetch http://127\.0\.0\.1:1/set\.tar\.gz: .*[Rr]efused"):
        fetch(nowhere, tmp_path)
    with pytest.raises(DataError, match=r"cannot fetch http://nowhere\.invalid/set\.tar\.gz: "):
        fetch(replace(nowhere, url="http://nowhere.invalid/set.tar.gz"), tmp_path)


def test_a_full_disk_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"cannot write .*: No space left on device"):
        fetch(of(server), tmp_path)


def test_a_folder_that_cannot_be_made_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write .*file: File exists"):
        fetch(of(server), tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no tar at all" * 100, r"set\.tar\.gz is damaged or not a tar archive"),
        (WHOLE[:100_000], r"set\.tar\.gz is damaged or not a tar archive"),
        (tar({"set/one.bin": b"1"}, "w"), r"set\.tar\.gz does not hold set/two\.bin"),
    ],
    ids=["no tar", "cut", "a file too few"],
)
def test_an_archive_that_cannot_be_unpacked_leaves_no_folder(
    server: Server, tmp_path: Path, content: bytes, message: str
) -> None:
    server.content = content
    with pytest.raises(DataError, match=message):
        fetch(of(server, content), tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [".set.tar.gz.lock", "set.tar.gz"]


def test_links_are_not_unpacked(server: Server, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        for name in FILES:
            link = tarfile.TarInfo(f"set/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            writer.addfile(link)
    server.content = buffer.getvalue()
    with pytest.raises(DataError, match="does not hold"):
        fetch(of(server, server.content), tmp_path)


def test_what_an_interrupted_unpacking_left_is_not_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".set.unfinished").mkdir()
    (tmp_path / ".set.unfinished" / "one.bin").write_bytes(b"half")
    (tmp_path / ".set.unfinished" / "three.bin").write_bytes(b"half")
    assert_whole(fetch(of(server), tmp_path))


def test_a_folder_with_a_file_too_few_is_not_overwritten(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "one.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match="set is incomplete: remove it"):
        fetch(of(server), tmp_path)
    assert (tmp_path / "set" / "one.bin").read_bytes() == b"mine"


def test_those_that_fetch_at_once_wait_for_the_first(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(fetch, [of(server)] * 4, [tmp_path] * 4))
    assert len(server.asked) == 1
    assert_whole(places[3])
