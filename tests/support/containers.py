"""Containers that serve, as operators run them: read-only, unprivileged, limited; and what they have used."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.image_engine import Engine
from tests.support.waiting import HANG_S

MEMORY = "512m"
LOCKED_DOWN = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
READY_SECONDS = 60
# Longer than the service takes to drain; past it podman kills, and the exit status is 137.
STOP_SECONDS = 30
CONTROL_GROUPS = Path("/sys/fs/cgroup")


@dataclass
class Container:
    """A container of the service's image that listens at `port` of the loopback."""

    engine: Engine
    name: str
    port: int
    seconds_to_ready: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=HANG_S, trust_env=False)

    def post(self, path: str, body: bytes, media_type: str = "image/png") -> httpx.Response:
        headers = {"Content-Type": media_type}
        return httpx.post(self.url + path, content=body, headers=headers, timeout=HANG_S, trust_env=False)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.engine.inspect("container", self.name)["State"]
        return state

    def wait_until_ready(self) -> None:
        started = time.monotonic()
        while time.monotonic() < started + READY_SECONDS:
            try:
                if self.get("/readyz").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        pytest.fail(f"the service was never ready; it printed:\n{self.engine.logs(self.name)}")

    def stop(self) -> float:
        """End it as an orchestrator does, and check that it went by itself; the seconds that it took."""
        started = time.monotonic()
        self.engine.podman("stop", "--time", str(STOP_SECONDS), self.name, timeout=STOP_SECONDS + 30)
        seconds = time.monotonic() - started
        state = self.state
        assert state["ExitCode"] == 0, self.engine.logs(self.name)
        assert not state["OOMKilled"]
        return seconds

    def processor_seconds(self) -> float:
        """What all its processes have used so far, from its control group."""
        v2, v1 = self._group("cpu.stat"), self._group("cpuacct.usage", "cpuacct")
        if v1 is not None:
            return int(v1.read_text()) / 1e9
        assert v2 is not None
        return int(v2.read_text().split()[1]) / 1e6

    def most_bytes(self) -> int:
        """The most memory that it has held, files that the kernel keeps for it among them."""
        file = self._group("memory.max_usage_in_bytes", "memory") or self._group("memory.peak")
        assert file is not None, "the kernel does not count it"
        return int(file.read_text())

    def _group(self, file: str, controller: str = "") -> Path | None:
        """A file of its control group, of either version."""
        lines = Path(f"/proc/{self.state['Pid']}/cgroup").read_text().splitlines()
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                found = CONTROL_GROUPS / controllers / path.lstrip("/") / file
                if found.exists():
                    return found
        return None


@contextmanager
def serving(
    engine: Engine, image: str, name: str, *options: str, port: int | None = None, cpus: float = 1
) -> Iterator[Container]:
    """A container that is ready, with `options` of podman's; whatever is left of it is removed."""
    container = Container(engine, name, port or free_port())
    started = time.monotonic()
    engine.podman(
        *("run", "--detach", "--replace", "--name", name, "--pull", "never"),
        *(*LOCKED_DOWN, "--memory", MEMORY, "--cpus", str(cpus)),
        *("--env", "SLIMBAYES_HOST=127.0.0.1", "--env", f"SLIMBAYES_PORT={container.port}"),
        *(*options, image),
    )
    try:
        container.wait_until_ready()
        container.seconds_to_ready = time.monotonic() - started
        yield container
    finally:
        engine.podman("rm", "--force", "--ignore", "--time", "1", name)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


# By their target in the Makefile.
IMAGES = {"image": "localhost/slimbayes:test", "image-train": "localhost/slimbayes-train:test"}
