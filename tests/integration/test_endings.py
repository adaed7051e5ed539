"""The end of a process, whatever is half done: nothing that waits for somebody else can hold it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import trustme
from PIL import Image

from tests.support.services import running_service
from tests.support.waiting import HANG_S

HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
# What a client sent when the signal came, which waits for that client for ever.
HALF_SENT = {
    "nothing": b"",
    "request line": b"GET /liv",
    "head": HEAD[:-2],
    "body": HEAD + b"abc",
    "chunk": HEAD.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked") + b"ff\r\nabc",
    "idle after an answer": LIVEZ,
    "second head": LIVEZ + LIVEZ[:9],
    "body of a refused request": HEAD.replace(b"/predict", b"/nowhere"),
}
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# No client is late while the test runs.
PATIENT = ("--receive-seconds", "1000000")


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=HANG_S)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_half_sent_requests_do_not_hold_the_end(digits_store: Path, number: signal.Signals) -> None:
    """Whoever sent half a request, or half a TLS handshake, and says nothing more; and the exit status is 0."""
    with running_service(digits_store, *PATIENT) as (url, process):
        clients = [connect(url) for _ in HALF_SENT]
        for client, data in zip(clients, HALF_SENT.values(), strict=True):
            client.sendall(data)
        clients[-1].recv(1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=HANG_S)
        assert (process.returncode, "Traceback" in errors) == (0, False)
        for client in clients:
            client.close()


def test_a_request_that_is_cut_off_is_told_so(digits_store: Path) -> None:
    """Its client may send it to another replica."""
    with running_service(digits_store, *PATIENT) as (url, process), connect(url) as client:
        client.sendall(HALF_SENT["body"])
        process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" in answer.lower()
        assert b'"detail":"the service is ending' in answer
        assert process.wait(HANG_S) == 0


def test_a_half_done_handshake_does_not_hold_the_end(digits_store: Path, tmp_path: Path) -> None:
    """Of TLS, whose client sent a first record and no more."""
    cert, key, issued = tmp_path / "cert.pem", tmp_path / "key.pem", trustme.CA().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    arguments = ["--store", str(digits_store), "--port", "0", "--tls-cert", str(cert), "--tls-key", str(key)]
    with started("from service.cli.serve import serve_app\nserve_app()", *arguments) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().partition("https://127.0.0.1:")[2].split()[0])
        hello = ssl.MemoryBIO()
        handshake = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            handshake.do_handshake()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(hello.read()[:50])
            process.send_signal(signal.SIGTERM)
            assert process.wait(HANG_S) == 0


# What another thread does for ever, when the signal comes.
STUCK = {
    "a thread": "threading.Thread(target=time.sleep, args=(1e6,)).start()",
    "building networks": "LoadedLevel.warm = lambda self: time.sleep(1e6)",
    "reading the store": "ModelRepository.refresh = lambda self: time.sleep(1e6)",
    "sending traces": "ModelRepository.close = lambda self: time.sleep(1e6)",
}
SERVE = """
import threading, time
from service.cli.serve import serve_app
from service.repository.level import LoadedLevel
from service.repository.repository import ModelRepository
{}
serve_app()
"""


@pytest.mark.parametrize("stuck", STUCK)
def test_threads_that_never_end_do_not_hold_the_end(digits_store: Path, stuck: str) -> None:
    arguments = ["--store", str(digits_store), "--port", "0", "--reload-seconds", "0.01"]
    with started(SERVE.format(STUCK[stuck]), *arguments) as process:
        assert process.stdout is not None
        assert "Serving" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 0


def test_a_silent_store_does_not_hold_the_end_at_start(tmp_path: Path) -> None:
    """Whose client waits in foreign code, where no handler of a signal runs."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = os.environ | {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        command = [sys.executable, "-m", "service", "--store", "s3://bucket/models", "--cache", str(tmp_path)]
        with subprocess.Popen([*command, "--port", "0"], env=environment, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1)
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=HANG_S)
            assert (process.returncode, errors) == (0, "")


def test_a_hang_up_that_is_ignored_stays_ignored(digits_store: Path) -> None:
    """As `nohup` starts it."""
    program = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + SERVE.format("")
    with started(program, "--store", str(digits_store), "--port", "0") as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        process.send_signal(signal.SIGHUP)
        with connect(url) as client:
            client.sendall(LIVEZ)
            assert client.recv(12) == b"HTTP/1.1 200"
        process.kill()


class Started(subprocess.Popen[str]):
    """A Python program that does not outlive the block."""

    def __exit__(self, *error: object) -> None:
        self.kill()
        super().__exit__(*error)  # type: ignore[arg-type]


def started(program: str, *arguments: str) -> Started:
    command = [sys.executable, "-c", program, *arguments]
    return Started(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(500):
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def silent_service() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.mark.parametrize(
    ("command", "number"),
    [
        *(("bench", number) for number in SIGNALS),
        ("score", signal.SIGINT),
        ("score", signal.SIGTERM),
        ("predict", signal.SIGINT),
        ("train", signal.SIGTERM),
    ],
)
def test_commands_end_with_one_line(
    digits_store: Path, tmp_path: Path, pictures: Path, silent_service: str, command: str, number: signal.Signals
) -> None:
    """And with the status that a shell expects; what is written is whole."""
    arguments = {
        "score": [str(pictures), str(tmp_path / "out"), "--store", str(digits_store), "--shard-size", "1"],
        "predict": [str(pictures), "--url", silent_service],
        "bench": ["engine", "--store", str(digits_store), "--rounds", "1000000"],
        "train": ["--data", "digits", "--epochs", "1000000", "--out", str(tmp_path / "run")],
    }[command]
    # Its own code tells when it is at work.
    program = "import sys\nfrom service.cli.main import main\nprint(flush=True)\nmain()"
    with subprocess.Popen(
        [sys.executable, "-c", program, command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        _at_work[command](tmp_path)
        process.send_signal(number)
        _, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 128 + number
    assert errors.startswith("Interrupted")
    assert errors.count("\n") == 1
    assert not [path for path in tmp_path.glob("out/part-*") if path.read_bytes()[-4:] != b"PAR1"]


def _after(seconds: float) -> Callable[[Path], object]:
    return lambda _: threading.Event().wait(seconds)


def _when_there(pattern: str) -> Callable[[Path], object]:
    def wait(folder: Path) -> None:
        while not list(folder.glob(pattern)):
            threading.Event().wait(0.01)

    return wait


_at_work = {
    "score": _when_there("out/part-*"),
    "predict": _after(1.5),
    "bench": _after(1.5),
    "train": _when_there("run/*"),
}
