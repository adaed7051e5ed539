"""Clients of HTTP as people use them, unchanged, against a service in a process of its own: all get one answer."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.page import missing_chromium, open_chromium
from tests.support.project import PROJECT
from tests.support.requirements import interpreter, program, require
from tests.support.services import running_service
from tests.support.waiting import HANG_S

pytestmark = pytest.mark.system
SCRIPTS = PROJECT / "tests" / "support" / "clients"
INSTALLER = ".ci/clients"


@pytest.fixture(scope="module")
def url(digits_store: Path) -> Iterator[str]:
    """Of a service of the digits."""
    with running_service(digits_store) as (url, _):
        yield url


@pytest.fixture
def picture(example: bytes, tmp_path: Path) -> Path:
    """A digit in a file."""
    path = tmp_path / "digit.png"
    path.write_bytes(example)
    return path


@pytest.fixture
def expected(url: str, example: bytes) -> Any:
    """What the service answers to the digit under four draws."""
    headers = {"Content-Type": "image/png"}
    response = httpx.post(f"{url}/predict", params={"samples": 4}, content=example, headers=headers, timeout=HANG_S)
    return response.json()["predictions"]


def run(*command: str) -> str:
    """What a program prints, which must end well."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def check(answers: dict[str, tuple[int, Any]], expected: Any) -> None:
    """All are the expected predictions, but for what is refused by name."""
    for name, (status, answer) in answers.items():
        if name.startswith("refused"):
            assert status == 400, name
            assert "unknown field 'samples'" in answer["detail"]
        else:
            assert (name, status) == (name, 200), answer
            assert answer["predictions"] == expected, name


@pytest.mark.parametrize(("library", "ways"), [("requests", 15), ("urllib3", 12), ("httpx", 13), ("aiohttp", 14)])
def test_libraries_of_python(url: str, picture: Path, expected: Any, library: str, ways: int) -> None:
    """Forms with names of every kind, raw and chunked bodies, compressed ones, JSON; sessions and single requests."""
    python = interpreter(PROJECT / ".venv-clients")
    said = json.loads(run(python, str(SCRIPTS / "ask_http.py"), library, url, str(picture)))
    assert len(said) == ways
    check(said, expected)


def test_java(url: str, picture: Path, expected: Any) -> None:
    """By its defaults, which offer HTTP/2 with every request, and without; the older client too."""
    printed = run(program("java", INSTALLER), str(SCRIPTS / "Ask.java"), url, str(picture))
    lines = [line.split("\t") for line in printed.splitlines()]
    assert len(lines) == 25
    for name, status, body in lines:
        check({name: (int(status), json.loads(body))}, expected)


CURL: dict[str, list[str]] = {
    "form": ["-F", "images=@{path}"],
    "form with a name and a type": ["-F", 'images=@{path};filename="фото \\"1\\".png";type=image/png'],
    "form in base64": ["-F", "images=@{path};encoder=base64"],
    "raw": ["--data-binary", "@{path}", "-H", "Content-Type: image/png"],
    "uploaded": ["-X", "POST", "-T", "{path}", "-H", "Content-Type: image/png"],
    "chunked": ["-X", "POST", "-T", "{path}", "-H", "Content-Type: image/png", "-H", "Transfer-Encoding: chunked"],
    "expecting": ["--data-binary", "@{path}", "-H", "Content-Type: image/png", "-H", "Expect: 100-continue"],
    "JSON": ["--json", '{"images": ["BASE64"]}'],
    "data URL": ["--json", '{"images": ["data:image/png;base64,BASE64"]}'],
    "refused: field": ["-F", "images=@{path}", "-F", "samples=16"],
}  # fmt: skip


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0", "--http2"])
@pytest.mark.parametrize("way", CURL)
def test_curl(url: str, picture: Path, expected: Any, version: str, way: str) -> None:
    """Offering HTTP/2 or not; twice on one connection."""
    if version == "--http1.0" and way == "chunked":
        return  # HTTP/1.0 has no chunks
    text = b64encode(picture.read_bytes()).decode()
    options = [each.replace("{path}", str(picture)).replace("BASE64", text) for each in CURL[way]]
    request = [version, *options, "--silent", "--write-out", "\n%{http_code}\n", f"{url}/predict?samples=4"]
    printed = run(program("curl", INSTALLER), *request, "--next", *request).splitlines()
    for body, status in zip(printed[::2], printed[1::2], strict=True):
        check({way: (int(status), json.loads(body))}, expected)
    assert len(printed) == 4


def test_curl_asks_for_the_head(url: str) -> None:
    printed = run(
        program("curl", INSTALLER), "--silent", "--head", f"{url}/livez", "--next", "--silent", f"{url}/livez"
    )
    assert printed.startswith("HTTP/1.1 200 OK\n")
    assert printed.endswith('\n\n{"status":"alive"}')


FORM_DATA = """
async ({query, text}) => {
  const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  const blob = new Blob([bytes], {type: "image/png"});
  const url = await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(blob);
  });
  const form = (...entries) => {
    const filled = new FormData();
    for (const entry of entries) filled.append(...entry);
    return filled;
  };
  const ways = {
    "blob": form(["images", blob]),
    "untyped": form(["images", new Blob([bytes])]),
    "file": form(["images", new File([bytes], "фото \\"1\\"\\n.png", {type: "image/png"})]),
    "nothing chosen in a second field": form(["images", blob, "a.png"], ["images", new File([], "")]),
    "form of the page": new FormData(Object.assign(document.createElement("form"), {innerHTML:
      '<input type="hidden" name="_charset_"><input type="file" name="images">'})),
    "refused: field": form(["images", blob], ["samples", "16"]),
    "raw": blob,
    "JSON": JSON.stringify({images: [url]}),
  };
  ways["form of the page"].append("images", blob);
  const said = {};
  for (const [name, body] of Object.entries(ways)) {
    const headers = name === "JSON" ? {"Content-Type": "application/json"} : {};
    const response = await fetch(query, {method: "POST", body, headers});
    said[name] = [response.status, await response.json()];
  }
  return said;
}
"""


def test_form_data_of_a_browser(url: str, example: bytes, expected: Any) -> None:
    require(missing_chromium())
    with open_chromium() as browser:
        page = browser.new_page()
        page.goto(f"{url}/livez")
        text = b64encode(example).decode()
        said = page.evaluate(FORM_DATA, {"query": "/predict?samples=4", "text": text})
    assert len(said) == 8
    check(said, expected)
