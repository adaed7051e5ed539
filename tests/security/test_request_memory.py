"""Bodies, pictures and answers share the memory of requests: what does not fit waits, or is refused with the reason."""

from __future__ import annotations

import gzip
import json
import select
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from service.http.content.memory import MIB
from tests.support.http import PNG, metric, refusal
from tests.support.services import Warm, running_service, wait_until
from tests.support.waiting import HANG_S

PARTS = ("bodies", "pictures", "answers")


def picture(side: int, kind: str = "PNG") -> bytes:
    """A picture of few bytes and many pixels."""
    file = BytesIO()
    Image.new("RGB", (side, side), "navy").save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()


def held(text: str) -> float:
    return sum(metric(text, "slimbayes_memory_bytes", part=part) for part in PARTS)


@pytest.fixture(scope="module")
def narrow(digits_store: Path) -> Iterator[TestClient]:
    """A service whose requests have 8 MiB together."""
    with Warm(digits_store, request_memory_mb=8, max_wait_ms=60_000) as client:
        yield client


def test_a_body_that_never_fits_is_refused(narrow: TestClient) -> None:
    """As sent, inflated, and as what a parser makes of it; then nothing is held."""
    for content, headers in (
        (bytes(6 * MIB), PNG),
        (gzip.compress(bytes(6 * MIB)), PNG | {"content-encoding": "gzip"}),
        (json.dumps({"images": [b64encode(bytes(MIB)).decode()]}).encode(), {"content-type": "application/json"}),
    ):
        assert "the body needs" in refusal(narrow.post("/predict", content=content, headers=headers), 413)
    assert held(narrow.get("/metrics").text) == 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_picture_costs_its_pixels_not_its_bytes(narrow: TestClient, kind: str) -> None:
    """Some hundred bytes are refused by what they would take, before they are decoded."""
    refused = narrow.post("/predict", content=picture(2048, kind), headers={"content-type": f"image/{kind.lower()}"})
    assert "image 0 needs" in refusal(refused, 413)
    assert held(narrow.get("/metrics").text) == 0


def test_an_answer_costs_its_draws(digits_store: Path) -> None:
    with Warm(digits_store, request_memory_mb=5, max_images=64) as client:
        files = [("images", ("a.png", picture(8)))] * 64
        refused = client.post("/predict", params={"samples": 256}, files=files)
        assert "the answer needs" in refusal(refused, 413)
        assert client.post("/predict", params={"samples": 16}, files=files).status_code == 200
        assert held(client.get("/metrics").text) == 0


def test_pictures_that_do_not_fit_together_take_turns(narrow: TestClient) -> None:
    """Each fits alone; all are answered, and never is more held than there is."""
    photograph, ended, most = picture(700), threading.Event(), list[float]()

    def watch() -> None:
        while not ended.wait(0.005):
            most.append(held(narrow.get("/metrics").text))

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(narrow.post, "/predict", content=photograph, headers=PNG) for _ in range(24)]
        statuses = [each.result().status_code for each in asked]
    ended.set()
    watching.join()
    assert statuses == [200] * 24
    assert 0 < max(most) <= 8 * MIB
    assert held(narrow.get("/metrics").text) == 0


def test_what_waits_too_long_for_memory_is_told_to_come_again(digits_store: Path) -> None:
    """While a body that arrives slowly holds what there is; small ones pass it."""
    with running_service(digits_store, "--request-memory-mb", "18", "--max-wait-ms", "200") as (url, _):
        arrived, go = threading.Event(), threading.Event()

        def slowly() -> Iterator[bytes]:
            yield bytes(3 * MIB)
            arrived.set()
            go.wait(HANG_S)
            yield b"end"

        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(httpx.post, f"{url}/predict", content=slowly(), headers=PNG)
            arrived.wait(HANG_S)
            wait_until(lambda: held(httpx.get(f"{url}/metrics").text) >= 3 * MIB)
            refused = httpx.post(f"{url}/predict", content=bytes(9 * MIB // 2), headers=PNG)
            assert "needs memory that other requests use" in refusal(refused, 503)
            assert int(refused.headers["retry-after"]) > 0
            assert httpx.post(f"{url}/predict", content=picture(8), headers=PNG).status_code == 200
            go.set()
            assert slow.result().status_code in (415, 422)
        wait_until(lambda: held(httpx.get(f"{url}/metrics").text) == 0)


def form(pictures: list[bytes]) -> tuple[bytes, dict[str, str]]:
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n%b\r\n' % each for each in pictures
    ]
    return b"".join([*parts, b"--b--\r\n"]), {"content-type": "multipart/form-data; boundary=b"}


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_decoding_stops_with_its_client_and_lets_small_requests_pass(digits_store: Path) -> None:
    """Forms of large pictures whose senders hang up cost a fraction of it; a photograph is not behind them."""
    body, headers = form([picture(2000)] * 32)
    flags = ("--threads", "1", "--decode-ms", "600000", "--max-wait-ms", "600000")
    with running_service(digits_store, *flags) as (url, process):
        begun = cpu_s(process.pid)
        assert httpx.post(f"{url}/predict", content=body, headers=headers, timeout=HANG_S).status_code == 200
        alone_s = cpu_s(process.pid) - begun
        begun, forms = cpu_s(process.pid), list[socket.socket]()
        for _ in range(4):
            forms.append(socket.create_connection((httpx.URL(url).host, httpx.URL(url).port)))
            head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
            forms[-1].sendall(head % (headers["content-type"].encode(), len(body)) + body)
        wait_until(lambda: held(httpx.get(f"{url}/metrics").text) > len(forms) * len(body))
        assert httpx.post(f"{url}/predict", content=picture(300), headers=PNG, timeout=HANG_S).status_code == 200
        assert not select.select(forms, [], [], 0)[0], "the photograph was answered after a form"
        for form_socket in forms:
            form_socket.close()
        wait_until(lambda: held(httpx.get(f"{url}/metrics").text) == 0)
        assert cpu_s(process.pid) - begun < 0.75 * len(forms) * alone_s


def test_the_parts_add_up_to_what_is_resident(digits_store: Path) -> None:
    """Within a tenth, before and after requests of all kinds."""

    def told_and_resident(url: str) -> tuple[float, float]:
        samples = [
            sample
            for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
            for sample in family.samples
        ]
        told = sum(sample.value for sample in samples if sample.name == "slimbayes_memory_bytes")
        return told, next(sample.value for sample in samples if sample.name == "process_resident_memory_bytes")

    with running_service(digits_store) as (url, _):
        told, resident = told_and_resident(url)
        assert told == pytest.approx(resident, rel=0.1)
        for content, kind in ((picture(2000), "png"), (picture(1000, "WEBP"), "webp"), (picture(3000, "JPEG"), "jpeg")):
            for _ in range(5):
                answered = httpx.post(f"{url}/predict", content=content, headers={"content-type": f"image/{kind}"})
                assert answered.status_code == 200
        httpx.post(f"{url}/predict", params={"samples": 256, "level": "dense"}, content=picture(8), headers=PNG)
        time.sleep(2)  # freed memory is returned a moment later
        told, resident = told_and_resident(url)
        assert told == pytest.approx(resident, rel=0.1)
