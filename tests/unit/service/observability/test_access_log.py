"""What a real process writes: one line a request, as JSON or text, and nothing that it should not."""

from __future__ import annotations

import json
import logging
import signal
import struct
import subprocess
import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from model_store.text import UNPRINTABLE
from service.observability.access_log import JsonFormatter, TextFormatter
from tests.support.http import PNG
from tests.support.services import running_service
from tests.support.waiting import HANG_S


def logged(store: Path, example: bytes, *flags: str) -> list[str]:
    """The lines of a service that answered an image, refused two requests, and was asked for its health."""
    with running_service(store, "--log-level", "info", *flags) as (url, process):
        asked = httpx.post(f"{url}/predict?level=p50", content=example, headers=PNG | {"x-request-id": "one"})
        assert asked.status_code == 200
        body = {"images": [b64encode(example).decode(), "aGk="]}
        assert httpx.post(f"{url}/predict?level=p50", json=body, headers={"x-request-id": "two"}).status_code == 415
        odd = "/predict?model=s3cret%0A%22&version=hidden"
        assert httpx.post(f"{url}{odd}", content=example, headers=PNG | {"x-request-id": "three"}).status_code == 404
        assert httpx.get(f"{url}/s3cret/{odd}").status_code == 404
        assert httpx.get(f"{url}/livez").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=HANG_S)
    for hidden in ("s3cret", "hidden", b64encode(example).decode()[:20], "PNG"):
        assert hidden not in errors
    return errors.splitlines()


def test_json(digits_store: Path, example: bytes) -> None:
    """Where nobody watches, each line is an object that says who, what, how long and with what end."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in logged(digits_store, example)]
    entries = {line["request_id"]: line for line in lines if line["logger"] == "slimbayes.requests"}
    assert all(line.keys() >= {"time", "severity", "message"} for line in lines)
    known = {"method": "POST", "route": "/predict", "model": "digits", "level": "p50"}
    assert entries["one"].items() >= (known | {"outcome": "answered", "status": 200, "images": 1}).items()
    assert entries["one"]["draws"] >= 4
    assert entries["one"]["milliseconds"] > 0
    assert entries["one"]["version"].count("-") == 2
    assert "reason" not in entries["one"]
    refused = {"outcome": "refused", "reason": "media_type", "status": 415, "images": 2}
    assert entries["two"].items() >= (known | refused).items()
    assert entries["three"]["reason"] == "unknown_name"
    assert "model" not in entries["three"]
    routes = [line.get("route") for line in lines]
    assert routes.count("other") == 1
    assert "/livez" not in routes


def test_damaged_pictures_write_no_lines(digits_store: Path) -> None:
    """Neither the service's libraries nor theirs say what is in the answer already."""
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "TIFF")
    too_many = file.getvalue().replace(struct.pack("<HHIHxx", 277, 3, 1, 3), struct.pack("<HHIHxx", 277, 3, 1, 7))
    assert too_many != file.getvalue()
    with running_service(digits_store, "--formats", "tiff", "--log-level", "warning") as (url, process):
        for damaged in (too_many, file.getvalue()[:-100]):
            assert httpx.post(f"{url}/predict", content=damaged, headers=PNG).status_code == 422
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=HANG_S)
    assert errors == ""


def test_text(digits_store: Path, example: bytes) -> None:
    """For people: time, severity, what was asked, and the rest as name=value."""
    lines = [line for line in logged(digits_store, example, "--log-format", "text") if "request_id=one" in line]
    (line,) = lines
    assert " INFO POST /predict " in line
    assert " level=p50 " in line
    assert " outcome=answered" in line


def test_debug_has_probes(digits_store: Path, example: bytes) -> None:
    """Who wants to see them, does."""
    lines = [json.loads(line) for line in logged(digits_store, example, "--log-level", "debug")]
    assert "/livez" in [line.get("route") for line in lines]


def test_import_sets_nothing_up() -> None:
    """Who uses the package as a library keeps their logging."""
    program = "import logging, service.app, service.observability.access_log, service.http.server, service.cli\n"
    program += "print(logging.getLogger().handlers, logging.getLogger('slimbayes').handlers)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[] []"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_anything_can_be_written(formatter: logging.Formatter) -> None:
    """Text that is no Unicode, quotes and line ends, and an error with its traceback."""
    try:
        raise ValueError("\ud800")
    except ValueError:
        message, error = 'a "b"\n\ud800', sys.exc_info()
    record = logging.LogRecord("slimbayes.service", logging.ERROR, "", 0, message, (), error)
    record.fields = {"path": Path("a")}
    written = formatter.format(record)
    assert "Traceback" in written
    written.encode(errors="strict" if isinstance(formatter, JsonFormatter) else "backslashreplace")  # as stderr does
    if isinstance(formatter, JsonFormatter):
        line = json.loads(written)
        assert line["message"] == 'a "b"\n\\ud800'
        assert line["path"] == "a"


FORGERIES = {
    "line feed": "a\n2026-11-30 00:00:00 INFO forged",
    "carriage return": "a\r2026-11-30 00:00:00 INFO forged",
    "escape": "a\x1b[2K\x1b]0;title\x07",
    "one byte controls": "a\x9b2J\x85b",
    "line separator": "a\u2028b\u2029c",
    "text turned around": "a\u202egpj.exe",
    "delete": "a\x7f\x7f",
}


@pytest.mark.parametrize("text", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_log_lines_cannot_be_forged(formatter: logging.Formatter, text: str) -> None:
    """By message, argument, field or error; JSON has every value as it was."""
    try:
        raise ValueError(text)
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("slimbayes.service", logging.ERROR, "", 0, "%s", (text,), error)
    record.fields = {"model": text}
    written = formatter.format(record)
    assert UNPRINTABLE.search(written.replace("\n  ", "")) is None
    if isinstance(formatter, JsonFormatter):
        line = json.loads(written)
        assert (line["message"], line["model"]) == (text, text)
        assert line["exception"].endswith(f"ValueError: {text}")
    else:
        assert not [line for line in written.split("\n")[1:] if not line.startswith("  ")]


def test_a_field_cannot_look_like_others() -> None:
    record = logging.LogRecord("slimbayes.requests", logging.INFO, "", 0, "GET /", (), None)
    record.fields = {"key": "ann status=200", "route": "/livez"}
    assert TextFormatter().format(record).endswith('key="ann status=200" route=/livez')
