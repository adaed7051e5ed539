"""The dashboard and the alerts: all that they name is there after real requests, and Prometheus itself takes them."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.http import PNG
from tests.support.images import png
from tests.support.project import PROJECT
from tests.support.requirements import program
from tests.support.services import running_service, wait_until

ALERTS = PROJECT / "docker" / "prometheus" / "alerts.yaml"
DASHBOARD = json.loads((PROJECT / "docker" / "grafana" / "slimbayes.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
# What Prometheus adds to every series that it reads.
OF_PROMETHEUS = {"instance", "job"}
# What there is only where an operator set a limit.
OPTIONAL = {'slimbayes_memory_limit_bytes{part="networks"} > 0'}


def ask(url: str) -> None:
    """Many pictures of noise, labels for some of them, and something that is none."""
    rng = np.random.default_rng(0)
    files = [("images", (f"{number}", png(rng.integers(0, 256, (8, 8), dtype=np.uint8)))) for number in range(32)]
    for _ in range(7):
        answer = httpx.post(f"{url}/predict", files=files)
        assert answer.status_code == 200
    for number in range(len(files)):
        label = {"request_id": answer.json()["request_id"], "image": number, "label": "1"}
        assert httpx.post(f"{url}/feedback", json=label).status_code == 200
    assert httpx.post(f"{url}/predict", content=b"no picture", headers=PNG).status_code == 415


@pytest.fixture(scope="module")
def url(digits_store: Path) -> Iterator[str]:
    """A service that answered enough to know of drift, and refused something."""
    with running_service(digits_store, "--feedback", "1000") as (url, _):
        ask(url)
        yield url


@pytest.fixture(scope="module")
def known(url: str) -> dict[str, set[str]]:
    """The labels of every metric that the service shows, by name."""
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def named(expression: str) -> tuple[set[str], set[str]]:
    """Metrics and labels in an expression."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    metrics = set(re.findall(r"\b(?:slimbayes|process)_\w+", plain))
    groups = re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right) *\(([^)]*)\)", plain)
    matched = re.findall(r"(\w+) *(?:=~|!~|!=|=)", " ".join(re.findall(r"{([^}]*)}", plain)))
    return metrics, {label.strip() for group in groups for label in group.split(",")} | set(matched)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_everything_named_exists(expression: str, known: dict[str, set[str]]) -> None:
    """A metric or a label that was renamed is missed here."""
    metrics, labels = named(expression)
    assert metrics
    assert metrics <= known.keys()
    assert labels <= OF_PROMETHEUS.union(*(known[metric] for metric in metrics))


def test_legends_name_labels_that_are_left(known: dict[str, set[str]]) -> None:
    """A legend shows labels that its expression keeps."""
    for panel in PANELS:
        for target in panel["targets"]:
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", target["expr"]))))
            if not re.search(r"\b(?:sum|min|max)\b", target["expr"]):
                kept = OF_PROMETHEUS.union(*(known[metric] for metric in named(target["expr"])[0]))
            assert shown <= kept, panel["title"]


def test_the_dashboard_is_whole() -> None:
    """Panels have ids of their own, do not lie on each other, and read from the chosen data source."""
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        cells = {(column, line) for column in range(x, x + w) for line in range(y, y + h)}
        assert x + w <= 24
        assert not cells & taken
        taken |= cells
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    used = set(re.findall(r"\$(\w+)", " ".join(EXPRESSIONS)))
    assert used <= variables


def test_alerts_say_what_is_wrong() -> None:
    """Each has a name of its own, a severity and a sentence."""
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


@pytest.mark.system
@pytest.mark.parametrize(("verb", "file"), [("check", ALERTS), ("test", PROJECT / "tests" / "e2e" / "alerts.yaml")])
def test_prometheus_takes_the_alerts(verb: str, file: Path) -> None:
    """They parse, are silent on a service that does well, and speak up on one that does not."""
    command = [program("promtool"), verb, "rules", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.system
def test_prometheus_likes_the_metrics(url: str) -> None:
    """Names, types and units are as Prometheus wants them."""
    text = httpx.get(f"{url}/metrics").text
    result = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@pytest.fixture(scope="module")
def prometheus(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that reads the service every second."""
    folder = tmp_path_factory.mktemp("prometheus")
    scrape = {"job_name": "slimbayes", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
    settings = {"global": {"scrape_interval": "1s"}, "rule_files": [str(ALERTS)], "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command = [program("prometheus"), *flags, f"--web.listen-address={address}", "--log.level=error"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            where = f"http://{address}/api/v1"
            wait_until(lambda: bool(query(where, "count_over_time(slimbayes_ready[1m]) > 4")))
            yield where
        finally:
            process.terminate()


def query(prometheus: str, expression: str) -> list[Any]:
    """What Prometheus finds now; nothing while it does not listen yet."""
    try:
        response = httpx.get(f"{prometheus}/query", params={"query": expression})
    except httpx.TransportError:
        return []
    if response.status_code == 503:
        return []
    answer = response.json()
    assert answer["status"] == "success", answer
    found: list[Any] = answer["data"]["result"]
    return found


def shown(prometheus: str, target: dict[str, Any]) -> list[float]:
    """The numbers that a panel shows now, asked for as Grafana does; what is no number it leaves out."""
    expression = target["expr"]
    for name, value in {"$__rate_interval": "1m", "$model": ".*", "$version": ".*", "$level": ".*"}.items():
        expression = expression.replace(name, value)
    values = [float(series["value"][1]) for series in query(prometheus, expression)]
    return [value for value in values if math.isfinite(value)]


@pytest.mark.slow
@pytest.mark.system
def test_every_panel_shows_something(url: str, prometheus: str) -> None:
    """Those of one figure also where nobody asks, the others while somebody does."""
    for panel in PANELS:
        for target in panel["targets"] if panel["type"] == "stat" else ():
            assert shown(prometheus, target), (panel["title"], target["expr"])
    ask(url)
    wait_until(lambda: any(float(each["value"][1]) for each in query(prometheus, "rate(slimbayes_images_total[1m])")))
    for panel in PANELS:
        for target in panel["targets"]:
            assert shown(prometheus, target) or target["expr"] in OPTIONAL, (panel["title"], target["expr"])
    rules = httpx.get(f"{prometheus}/rules").json()["data"]["groups"][0]["rules"]
    assert len(rules) == len(RULES)
