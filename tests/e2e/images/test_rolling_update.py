"""Three containers behind a proxy, replaced one by one under load: nobody notices."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.containers import Container, free_port, serving
from tests.support.image_engine import Engine
from tests.support.load import Load, Request
from tests.support.photographs import photograph, together
from tests.support.requirements import program
from tests.support.waiting import HANG_S

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
]

REPLICAS = 3
NEW = "localhost/slimbayes:next"
# A proxy that neither repeats requests nor hides an error of the service; it looks at /readyz five times a second.
HAPROXY = """\
global
  maxconn 200
defaults
  mode http
  retries 0
  timeout connect 5s
  timeout check 5s
  timeout client 60s
  timeout server 60s
frontend all
  bind 127.0.0.1:{port}
  default_backend replicas
backend replicas
  balance leastconn
  option httpchk GET /readyz
  default-server check inter 200ms fall 1 rise 1
{servers}
"""


def test_replicas_are_replaced_under_load(engine: Engine, image: str, tmp_path: Path) -> None:
    """Each by one of the next version, once the new one is ready; none fails, all answer the same bits."""
    _next_version(engine, image)
    requests: list[Request] = [("/predict?samples=32", photograph(seed=n), "image/png") for n in range(6)]
    requests += [("/predict", *together([photograph(seed=n) for n in range(4)]))]
    ports = [free_port() for _ in range(REPLICAS)]
    with ExitStack() as replicas:
        old = [replicas.enter_context(_replica(engine, image, number, port)) for number, port in enumerate(ports)]
        url = replicas.enter_context(_proxy(ports, tmp_path))
        with Load(url, requests, clients=3).running() as load:
            load.wait_for(30)
            for number, container in enumerate(old):
                container.stop()
                replicas.enter_context(_replica(engine, NEW, number, container.port))
                load.wait_for(30)
        assert load.failures == []
        assert set(load.answers) == {httpx.codes.OK}
        labels = [engine.inspect("container", f"slimbayes-replica-{n}")["Config"]["Labels"] for n in range(REPLICAS)]
        assert {each["org.opencontainers.image.version"] for each in labels} == {"next"}
    distinct = {(request, _said(answer)) for request, answer in load.seen}
    assert len(distinct) == len(requests)
    print(f"rolling update: {load.answers.total()} answers")


def _next_version(engine: Engine, image: str) -> None:
    """The same code under another version's name: what is rehearsed is the change of containers."""
    container = "slimbayes-next"
    engine.run("buildah", "from", "--name", container, "--pull-never", image)
    engine.run("buildah", "config", "--label", "org.opencontainers.image.version=next", container)
    engine.run("buildah", "commit", "--quiet", "--format", "docker", "--rm", container, NEW)


@contextmanager
def _replica(engine: Engine, image: str, number: int, port: int) -> Iterator[Container]:
    """One that says that it leaves for longer than the proxy takes to see it."""
    drain = ("--env", "SLIMBAYES_DRAIN_SECONDS=3", "--env", "SLIMBAYES_MAX_WAIT_MS=60000")
    with serving(engine, image, f"slimbayes-replica-{number}", *drain, port=port) as container:
        yield container


@contextmanager
def _proxy(ports: list[int], folder: Path) -> Iterator[str]:
    port, configuration = free_port(), folder / "haproxy.cfg"
    servers = "\n".join(f"  server replica{number} 127.0.0.1:{each}" for number, each in enumerate(ports))
    configuration.write_text(HAPROXY.format(port=port, servers=servers))
    process = subprocess.Popen([program("haproxy"), "-db", "-q", "-f", str(configuration)])
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + HANG_S
        while not _answers(url):
            assert process.poll() is None, "the proxy ended"
            assert time.monotonic() < deadline, "the proxy does not answer"
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(HANG_S)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _said(answer: httpx.Response) -> str:
    """What an answer says, without what belongs to the request alone."""
    said: dict[str, Any] = answer.json()
    return json.dumps({name: value for name, value in said.items() if name not in ("request_id", "timing_ms")})
