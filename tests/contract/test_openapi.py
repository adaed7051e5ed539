"""The OpenAPI document: schemathesis asks the service all that it describes, and much that it does not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from model_store.store import Store
from service.http.api_keys import Key
from tests.support.services import running_service

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
# No time and not ready are answers, where they are documented.
SETTINGS = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503, 504]
"""


def schemathesis(url: str, folder: Path, settings: str, *flags: str) -> dict[str, Any]:
    """What it found, which must be nothing."""
    (folder / "schemathesis.toml").write_text(SETTINGS + settings)
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml"]
    report = ["--report", "json", "--report-json-path", "report.json"]
    asked = ["--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS), "--continue-on-failure"]
    command = [*program, "run", f"{url}/openapi.json", "--seed", "1", "--no-color", *asked, *report, *flags]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert found["complete"]
    assert not found["operations"]["skipped"]
    return found


def names(store: Path) -> str:
    """Settings under which it asks about what there is; else it makes up models that there are not."""
    return f'[parameters]\n"path.model" = "digits"\n"path.version" = "{max(Store.open(store).versions("digits"))}"\n'


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, pytest.param(False, marks=pytest.mark.system)], ids=["known", "unknown"])
def test_nothing_but_what_is_documented(digits_store: Path, tmp_path: Path, known: bool) -> None:
    """Hundreds of requests with names that there are, as many without: no failure, no answer that is not described."""
    settings = names(digits_store) if known else ""
    with running_service(digits_store, "--feedback", "100") as (url, _):
        found = schemathesis(url, tmp_path, settings, "--max-examples", "12")
    assert found["operations"]["tested"] == 23
    assert found["test_cases"]["generated"] >= 500


@pytest.mark.slow
def test_keys_and_rates(digits_store: Path, tmp_path: Path) -> None:
    """Without a key every answer is described too, with an administrator's all is granted, up to a rate of images."""
    shutil.copytree(digits_store, tmp_path / "store")
    key, line = Key.make("eve", "admin")
    (tmp_path / "keys").write_text(f"{line}\n")
    flags = ("--keys-file", str(tmp_path / "keys"), "--rate-limit", "5/hour", "--metrics-key", "--feedback", "9")
    known = names(tmp_path / "store") + '"path.alias" = "production"\n'
    given = ("--header", f"Authorization: Bearer {key}", "--max-examples", "10")
    with running_service(tmp_path / "store", *flags) as (url, _):
        schemathesis(url, tmp_path, known, "--max-examples", "5")
        # A model that is unloaded answers nothing more, so that this comes last.
        found = schemathesis(url, tmp_path, known, *given, "--exclude-path-regex", "/unload$")
        schemathesis(url, tmp_path, known, *given, "--include-path-regex", "/unload$")
        headers = {"Authorization": f"Bearer {key}"}
        limited = httpx.get(f"{url}/metrics", headers=headers).text
    assert found["operations"]["tested"] == 22
    assert not found["warnings"]["missing_auth"]
    for route in ("/predict", "/feedback", "/v2/models/{model}/infer"):
        assert re.search(rf'reason="rate_limit".*route="{re.escape(route)}"', limited), limited
