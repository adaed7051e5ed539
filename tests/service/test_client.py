"""`slimbayes predict`, and the client under it, against a real service."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli import predict_app
from service.client import Client
from service.errors import AnswerError
from tests.service.conftest import running_service


@pytest.fixture(scope="module")
def url(digits_store: Path) -> Iterator[str]:
    """Where a service is."""
    with running_service(digits_store) as (url, _):
        yield url


def test_predict_as_json_and_table(url: str, digits_run: Path) -> None:
    """Both say the same of the same files."""
    paths = sorted(map(str, (digits_run / "examples").glob("*.png")))[:3]
    result = CliRunner().invoke(predict_app, [*paths, "--url", url, "--level", "p50", "--samples", "4", "--json"])
    answer = json.loads(result.output)
    assert (answer["level"], len(answer["predictions"])) == ("p50", 3)
    table = CliRunner(env={"COLUMNS": "160"}).invoke(
        predict_app, [*paths, "--url", url, "--level", "p50", "--samples", "4"]
    )
    assert table.exit_code == 0
    for path, prediction in zip(paths, answer["predictions"], strict=True):
        line = next(line for line in table.output.splitlines() if Path(path).name in line)
        assert f"{prediction['probability']:.3f}" in line
        assert prediction["decision"] in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--level", "p99"], "404"), (["--samples", "0"], "from 1 to 256"), (["--alpha", "0.5"], "calibrated for")],
)
def test_refusals_are_said_in_words(url: str, digits_run: Path, arguments: list[str], says: str) -> None:
    path = str(min((digits_run / "examples").glob("*.png")))
    result = CliRunner().invoke(predict_app, [path, "--url", url, *arguments])
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())


def test_another_service(tmp_path: Path) -> None:
    """What answers without being ours is said to be something else."""
    (tmp_path / "models").write_text("{}")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        with Client(f"http://127.0.0.1:{server.server_port}") as client, pytest.raises(AnswerError, match="is not a"):
            client.models()
        server.shutdown()


def test_no_service_and_no_file(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:9") as client:
        assert not client.ready()
        with pytest.raises(AnswerError, match="cannot reach"):
            client.models()
    result = CliRunner().invoke(predict_app, [str(tmp_path / "none.png")])
    assert result.exit_code == 1
    assert "cannot read" in result.output
