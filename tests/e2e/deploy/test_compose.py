"""The composition: it comes up, is healthy, answers and is watched, and leaves nothing."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.support.containers import IMAGES
from tests.support.deploy import composition
from tests.support.deploy.composition import FILE, SERVICES, Composition
from tests.support.image_engine import Engine, EngineError, open_engine
from tests.support.project import PROJECT
from tests.support.requirements import require
from tests.support.sharing import Interfaces

IMAGE = IMAGES["image"]
COMPOSITION = yaml.safe_load(FILE.read_text())
# Grafana cannot be had where nothing but package registries can: it is looked at by its files only.
RUN = ("slimbayes", "prometheus")
UP = {"slimbayes", "s3", "prometheus"}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    require(composition.missing_requirement())
    with open_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def running(engine: Engine, tmp_path_factory: pytest.TempPathFactory, interfaces: Interfaces) -> Iterator[Composition]:
    engine.build(PROJECT, IMAGE)
    engine.podman("tag", IMAGE, "docker.io/library/slimbayes:test")
    composition.build_stand_ins(engine, tmp_path_factory.mktemp("images"))
    composed = Composition(engine, "slimbayes-test", "test")
    with composition.docker_socket(engine), composition.health_checked(engine):
        try:
            try:
                with interfaces():
                    composed.compose("up", "--detach", "--wait", "--pull", "never", *RUN)
            except EngineError:
                print(*(engine.logs(each["Id"]) for each in composed.containers().values()), sep="\n")
                raise
            yield composed
        finally:
            with interfaces():
                composed.compose("down", "--volumes", "--timeout", "10")


@pytest.mark.system
@pytest.mark.slow
def test_it_comes_up_and_answers(running: Composition) -> None:
    containers = running.containers()
    assert {name for name, each in containers.items() if each["State"]["Running"]} == UP
    for name in UP:
        health = containers[name]["State"].get("Health") or containers[name]["State"]["Healthcheck"]
        assert health["Status"] == "healthy", name
    assert [containers[name]["State"]["ExitCode"] for name in ("folders", "seed")] == [0, 0]
    url = f"http://127.0.0.1:{running.ports['slimbayes']}"
    answer = httpx.post(f"{url}/predict", content=picture(), headers={"Content-Type": "image/png"}, trust_env=False)
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    assert prediction["monte_carlo"]["draws"] >= 1
    assert httpx.get(f"{url}/status", trust_env=False).json()["store"] == "reachable", "the bucket"


@pytest.mark.system
@pytest.mark.slow
def test_prometheus_reads_the_service_and_has_the_alerts(running: Composition) -> None:
    url = f"http://127.0.0.1:{running.ports['prometheus']}/api/v1"
    wait_for(lambda: query(url, 'slimbayes_ready{job="slimbayes"}') == ["1"])
    wait_for(lambda: query(url, "sum(slimbayes_images_total) >= 1") != [])
    groups = httpx.get(f"{url}/rules", trust_env=False).json()["data"]["groups"]
    alerts = yaml.safe_load((PROJECT / "docker" / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert [rule["name"] for rule in groups[0]["rules"]] == [rule["alert"] for rule in alerts]
    assert not [rule["name"] for rule in groups[0]["rules"] if rule["state"] == "firing"]


@pytest.mark.system
@pytest.mark.slow
def test_the_store_knows_its_users(running: Composition) -> None:
    """The bucket is there, and not for strangers."""
    url = f"http://127.0.0.1:{running.ports['s3']}/models"
    assert httpx.get(url, trust_env=False).status_code == 403


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(UP))
def test_containers_are_as_tight_as_the_file_says(running: Composition, name: str) -> None:
    container = running.containers()[name]
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert not container["EffectiveCaps"]
    assert host["Memory"] == 512 * 2**20
    assert host["PidsLimit"] == 256
    status = running.engine.podman("exec", container["Id"], "cat", "/proc/1/status")
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s*0+$", status, re.MULTILINE)
    assert not re.search(r"^Uid:\s*0\b", status, re.MULTILINE)


@pytest.mark.system
@pytest.mark.slow
def test_it_leaves_nothing(running: Composition, interfaces: Interfaces) -> None:
    """Last of those that need it running: containers, volumes and networks go, and what was accepted is finished."""
    engine = running.engine
    with interfaces():
        running.compose("stop", "slimbayes")
        assert running.containers()["slimbayes"]["State"]["ExitCode"] == 0
        running.compose("down", "--volumes", "--timeout", "10")
    assert running.containers() == {}
    left = engine.podman("volume", "ls", "--quiet") + engine.podman("network", "ls", "--format", "{{.Name}}")
    assert "slimbayes" not in left


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service: dict[str, Any] = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit", "healthcheck", "user"} <= service.keys()
    assert re.fullmatch(r"(slimbayes(-train)?|docker\.io/\S+):(\$\{\w+:-latest\}|v?\d[\w.]+)", service["image"])
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")
    once = name in {"folders", "seed", "train"}
    assert service["healthcheck"].get("disable", False) is once
    root = service["user"].split(":")[0] == "0"
    assert (root, service.get("cap_add", [])) == ((name == "folders"), ["CHOWN"] if name == "folders" else [])


def test_training_runs_only_where_it_is_asked_for() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["train"]


def test_grafana_finds_datasource_and_dashboard() -> None:
    mounts = dict(volume.removesuffix(":ro").rsplit(":", 1)[::-1] for volume in SERVICES["grafana"]["volumes"])
    provisioned = {
        kind: yaml.safe_load((FILE.parent / mounts[f"/etc/grafana/provisioning/{kind}/slimbayes.yaml"]).read_text())
        for kind in ("datasources", "dashboards")
    }
    (source,) = provisioned["datasources"]["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert source["isDefault"]
    (provider,) = provisioned["dashboards"]["providers"]
    dashboard = json.loads((FILE.parent / mounts[f"{provider['options']['path']}/slimbayes.json"]).read_text())
    kinds = {each["query"] for each in dashboard["templating"]["list"] if each["type"] == "datasource"}
    assert kinds == {source["type"]}


def test_every_file_that_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSITION["volumes"] or (FILE.parent / source).is_file(), source


def picture() -> bytes:
    """Noise, 32 x 32, as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def query(url: str, expression: str) -> list[str]:
    """The values of an expression now."""
    answer = httpx.get(f"{url}/query", params={"query": expression}, trust_env=False).json()
    return [series["value"][1] for series in answer["data"]["result"]]


def wait_for(holds: Any, seconds: float = 30) -> None:
    """Until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.3)
