"""Log lines are written by a thread: whoever logs waits for nobody, and what is lost is counted and told."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.observability.log_writer import LogWriter
from tests.support.http import PNG
from tests.support.services import wait_until
from tests.support.waiting import HANG_S


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends of a pipe of one page, and whatever is in it when the test is over is read, so that no thread stays."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    os.set_blocking(reading, False)
    os.close(reading)
    os.close(writing)


def say(writer: LogWriter, message: str) -> None:
    writer.handle(logging.LogRecord("slimbayes", logging.INFO, "", 0, message, (), None))


def read_lines(descriptor: int, count: int) -> list[str]:
    with os.fdopen(os.dup(descriptor)) as stream:
        return [stream.readline() for _ in range(count)]


def test_lines_are_written_in_order(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1])
    for number in range(100):
        say(writer, f"line {number}")
    assert read_lines(pipe[0], 100) == [f"line {number}\n" for number in range(100)]
    assert writer.dropped == 0


def test_a_pipe_that_nobody_reads_blocks_nobody(pipe: tuple[int, int]) -> None:
    """Lines wait in bounded memory, others are dropped and counted; one line says how many, once it is read again."""
    writer, line = LogWriter(pipe[1], max_bytes=10_000), "x" * 99
    for _ in range(1000):
        say(writer, line)
    assert 1000 - writer.dropped <= (4096 + 10_000) // 100 + 1
    lines: list[str] = []
    told = 0
    with os.fdopen(os.dup(pipe[0])) as stream:
        while lines.count(line) + told < 1000:
            lines.append(stream.readline().rstrip())
            told = sum(int(each.split()[0]) for each in lines if " lines of the log were dropped" in each)
    assert lines.count(line) + told == 1000
    assert told == writer.dropped
    say(writer, "again")
    assert read_lines(pipe[0], 1) == ["again\n"]


def test_a_full_disk_blocks_nobody() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        writer = LogWriter(full.fileno())
        for _ in range(10):
            say(writer, "line")
        wait_until(lambda: writer.dropped == 10)


def test_a_closed_standard_error_blocks_nobody(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    writer = LogWriter(descriptor)
    os.close(descriptor)
    say(writer, "line")
    wait_until(lambda: writer.dropped == 1)


def test_a_message_that_cannot_be_formatted_is_counted(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1])
    writer.handle(logging.LogRecord("slimbayes", logging.INFO, "", 0, "%d", ("no number",), None))
    assert writer.dropped == 1


def test_a_shared_descriptor_that_does_not_block(pipe: tuple[int, int]) -> None:
    """Another process may have made it so; it is not changed, and no line is lost."""
    os.set_blocking(pipe[1], False)
    writer = LogWriter(pipe[1])
    for number in range(2000):
        say(writer, f"line {number}")
    assert read_lines(pipe[0], 2000) == [f"line {number}\n" for number in range(2000)]
    assert not os.get_blocking(pipe[1])


PROGRAM = """
import os, sys
from functools import partial
from service.cli.serve import serve_app
from service.observability import access_log
access_log.LogWriter = partial(access_log.LogWriter, max_bytes=8192)
{}
serve_app()
"""


@pytest.mark.parametrize("kind", ["stalled", "full", "closed"])
def test_logging_never_blocks_a_service(digits_store: Path, example: bytes, kind: str) -> None:
    """Requests go on whatever becomes of its log, the metric counts the lines, and it ends as always."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    errors = {"stalled": writing, "full": os.open("/dev/full", os.O_WRONLY), "closed": writing}
    program = PROGRAM.format("os.close(2)\nsys.stderr = None" if kind == "closed" else "")
    command = [sys.executable, "-c", program, "--store", str(digits_store), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors[kind], text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        with httpx.Client() as client:
            for _ in range(100):
                assert client.post(f"{url}/predict", content=example, headers=PNG).status_code == 200
            metrics = client.get(f"{url}/metrics").text
        (dropped,) = [line for line in metrics.splitlines() if line.startswith("slimbayes_log_lines_dropped_total ")]
        # A descriptor that was closed is /dev/null, where nothing is lost.
        assert (float(dropped.split()[1]) > 0) == (kind != "closed")
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 0
    for descriptor in (reading, writing, errors["full"]):
        os.close(descriptor)
