"""The process: its answers, its socket, its end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from model_store.store import Store
from service.cli.serve import build_server
from service.client import Client
from service.errors import ClientError, StartupError
from service.http.server import bind
from service.inference.artifact import read_artifact
from service.settings import Settings
from tests.support.http import PNG
from tests.support.services import running_service, wait_until
from tests.support.waiting import HANG_S


def test_two_processes_give_one_answer(digits_store: Path, example: bytes) -> None:
    """Replicas agree to the last bit, on one thread and on two."""
    answers = []
    for threads in ("1", "2"):
        with running_service(digits_store, "--threads", threads) as (url, _):
            response = httpx.post(f"{url}/predict", content=example, headers=PNG)
            answers.append(response.json()["predictions"])
    assert answers[0] == answers[1]


def test_service_agrees_with_the_bare_file(digits_store: Path, example: bytes) -> None:
    """The answer over HTTP is the mean of 2,000 runs of the bare file, within Monte-Carlo error."""
    import numpy as np
    import onnxruntime
    from scipy.special import softmax

    from service.pipeline.preprocessing import decode

    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    level = manifest.level("p50")
    assert level is not None
    data = store.read_level(manifest, "p50")
    assert read_artifact(data).members[0].weights
    onnxruntime.set_seed(0)
    session = onnxruntime.InferenceSession(data)
    images = decode(example, manifest.input, 10**6)[None]
    runs = np.stack([session.run(None, {"images": images})[0][0] for _ in range(2000)])
    p = softmax(runs.astype(np.float64) / level.calibration.temperature, -1)
    with running_service(digits_store) as (url, _):
        query = {"level": "p50", "samples": 256}
        answer = httpx.post(f"{url}/predict", params=query, content=example, headers=PNG).json()
    served = {one["label"]: one for one in answer["predictions"][0]["probabilities"]}
    for k, label in enumerate(manifest.classes):
        # Both errors from the larger sample: of a rare class, 256 draws may have seen none that is sure of it.
        error = p[:, k].std() * np.sqrt(1 / len(p) + 1 / 256)
        assert abs(p[:, k].mean() - served[label]["probability"]) < 5 * error + 1e-4


def test_sigterm_ends_well(digits_store: Path) -> None:
    """The process finishes and exits with status 0, without a traceback; so it does on Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with running_service(digits_store) as (_, process):
            process.send_signal(number)
            _, errors = process.communicate(timeout=HANG_S)
            assert (process.returncode, errors) == (0, "")


TELLS_WHEN_IT_LISTENS_TO_SIGNALS = """
import signal
from service.cli.serve import serve_app
listen = signal.signal
def tell(*arguments):
    listen(*arguments)
    print(flush=True)
signal.signal = tell
serve_app()
"""


def test_sigterm_before_it_serves(digits_store: Path) -> None:
    """While it is still importing what it needs, the process ends as well as later."""
    command = [sys.executable, "-c", TELLS_WHEN_IT_LISTENS_TO_SIGNALS, "--store", str(digits_store), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        process.send_signal(signal.SIGTERM)
        assert "Serving" not in process.stdout.read()
        assert process.wait(HANG_S) == 0


def serve(*flags: str) -> tuple[int, str]:
    """Exit status and message of a service that cannot start."""
    command = [sys.executable, "-m", "service", *flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert "Traceback" not in result.stderr
    return result.returncode, " ".join(result.stderr.split())


def test_port_in_use(digits_store: Path) -> None:
    """The message names the port and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, message = serve("--store", str(digits_store), "--port", str(port))
    assert status == 1
    assert f"port {port}" in message
    assert "choose another --host or --port" in message


def test_a_port_is_ours_from_the_start(digits_store: Path) -> None:
    """Of two who bind one port, the second is told at once, though the first does not serve yet."""
    settings = Settings(store=digits_store, port=0)
    with bind(settings) as first:
        taken = settings.model_copy(update={"port": first.getsockname()[1]})
        with pytest.raises(StartupError, match="cannot listen"):
            bind(taken)


def test_store_that_does_not_exist(tmp_path: Path) -> None:
    """The message names the folder and what was expected."""
    status, message = serve("--store", str(tmp_path / "nowhere"), "--port", "0")
    assert status == 1
    assert "there is no store at" in message


def test_bad_setting() -> None:
    """The message names the setting."""
    status, message = serve("--max-images", "0")
    assert status == 1
    assert "max_images" in message


def test_headers_without_end(digits_store: Path, example: bytes) -> None:
    """A connection whose headers never end is refused and ended; a body behind them may be as large as bodies may."""
    with running_service(digits_store) as (url, _):
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.settimeout(20)
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n")
            connection.sendall(b"X: " + b"a" * 100_000)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert b"connection: close" in answer.lower()
            with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
                while True:
                    connection.sendall(b"a" * 1_000_000)
        with httpx.Client(base_url=url) as client:
            for size in (3_000_000, 100):  # on one connection
                files = [("images", ("a.png", example + bytes(size)))]
                assert client.post("/predict", files=files).status_code == 200


def test_tls(digits_store: Path, tmp_path: Path) -> None:
    """With a certificate of one's own, which a client must be told to trust; files that do not fit are refused."""
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    trusted, chain, key, other_key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem", "other.pem"))
    authority.cert_pem.write_to_path(trusted)
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    other.issue_cert("127.0.0.1").private_key_pem.write_to_path(other_key)
    settings = Settings(store=digits_store, port=0, tls_cert=chain, tls_key=key)
    server = build_server(settings, bind(settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.url.startswith("https://")
        with Client(server.url, ca_file=trusted) as client:
            wait_until(client.ready)
            assert client.models().models
        with Client(server.url) as stranger, pytest.raises(ClientError, match="certificate"):
            stranger.models()
    finally:
        server.stop()
        thread.join()
    for wrong in (other_key, tmp_path / "none.pem"):
        status, message = serve("--store", str(digits_store), "--tls-cert", str(chain), "--tls-key", str(wrong))
        assert (status, "cannot use" in message) == (1, True)


Question = Callable[[bytes, int], tuple[str, dict[str, Any]]]
LONG = {"samples": "512", "level": "dense"}


def predicting(example: bytes, images: int) -> tuple[str, dict[str, Any]]:
    """A long question to `/predict`."""
    return "/predict", {"params": LONG, "files": [("images", (f"{number}", example)) for number in range(images)]}


def inferring(example: bytes, images: int) -> tuple[str, dict[str, Any]]:
    """The same to the Open Inference Protocol."""
    data = [b64encode(example).decode()] * images
    tensor = {"name": "images", "shape": [images], "datatype": "BYTES", "data": data}
    return "/v2/models/digits/infer", {"json": {"parameters": LONG, "inputs": [tensor]}}


@pytest.mark.parametrize("question", [predicting, inferring])
def test_who_hangs_up_leaves_the_queue(digits_store: Path, example: bytes, question: Question) -> None:
    """A client that goes away while its answer is computed leaves little work behind."""
    with running_service(digits_store, "--max-samples", "512", "--threads", "1") as (url, _):

        def ask(asking: Question, images: int, timeout: float) -> Any:
            path, options = asking(example, images)
            return httpx.post(url + path, **options, timeout=timeout).json()

        ask(predicting, 1, 60)  # the networks are there now
        alone = ask(predicting, 1, 60)["timing_ms"]["inference"] / 1000
        with pytest.raises(httpx.ReadTimeout):
            ask(question, 32, 2 * alone)
        assert ask(predicting, 1, 60)["timing_ms"]["queue"] / 1000 < 8 * alone
