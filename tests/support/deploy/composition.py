"""The composition under podman's Docker-compatible socket, with stand-ins for public images, which are not fetched.

A stand-in has the name, the user, the paths and the program of the real image: SeaweedFS from its wheel, Prometheus
from Debian.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.deploy.helm import BIN
from tests.support.image_engine import NETAVARK, RUN_ROOT, Engine, EngineError
from tests.support.image_engine import missing_requirement as missing_engine
from tests.support.project import PROJECT
from tests.support.waiting import HANG_S

FILE = PROJECT / "docker" / "compose.yaml"
WEED = BIN / "weed"
SOCKET = RUN_ROOT / "docker.sock"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
# What health checks of these images ask with; a real one brings a busybox of its own.
_CONTAINERFILE = """\
FROM localhost/debian:12-slim
COPY busybox /usr/bin/wget
COPY {program} {path}
RUN install --directory --owner={user} {folder}
"""


def missing_requirement() -> str | None:
    """Why the composition cannot be run here, or None."""
    if reason := missing_engine():
        return reason
    programs = {"prometheus": shutil.which("prometheus"), "busybox": shutil.which("busybox")}
    needed = {"netavark": NETAVARK, "aardvark-dns": NETAVARK.with_name("aardvark-dns"), "SeaweedFS": WEED}
    missing = [name for name, path in programs.items() if path is None]
    missing += [name for name, path in needed.items() if not path.exists()]
    return f"not installed: {', '.join(missing)} (.ci/containers, make test-system)" if missing else None


def build_stand_ins(engine: Engine, folder: Path) -> None:
    """Put images under the names of public ones into the engine's storage."""
    programs = {
        "s3": (WEED, "/usr/bin/weed", "root", "/data"),
        "prometheus": (Path(shutil.which("prometheus") or ""), "/bin/prometheus", "65534", "/prometheus"),
    }
    for service, (program, path, user, data) in programs.items():
        context = folder / service
        context.mkdir()
        shutil.copy(shutil.which("busybox") or "", context / "busybox")
        shutil.copy(program, context / program.name)
        text = _CONTAINERFILE.format(program=program.name, path=path, user=user, folder=data)
        if service == "prometheus":
            text += f'ENTRYPOINT ["{path}"]\n'
        (context / "Containerfile").write_text(text)
        engine.run(
            "buildah", "build", "--isolation", "chroot", "--layers", "--tag", SERVICES[service]["image"], str(context)
        )


class Composition:
    """`docker compose` over the project's file, as a project of the test's own."""

    def __init__(self, engine: Engine, name: str, tag: str) -> None:
        self.engine, self.name = engine, name
        self.ports = {service: free_port() for service in ("slimbayes", "s3", "prometheus")}
        self._environment = os.environ | {
            "DOCKER_HOST": f"unix://{SOCKET}",
            "SLIMBAYES_TAG": tag,
            "SLIMBAYES_HTTP_PORT": str(self.ports["slimbayes"]),
            "S3_PORT": str(self.ports["s3"]),
            "PROMETHEUS_PORT": str(self.ports["prometheus"]),
        }

    def compose(self, *arguments: str, timeout: float = 120) -> str:
        """Run it, and return what it printed; raise EngineError with all of that where it fails."""
        (binary,) = BIN.parent.glob("lib/python*/site-packages/compose/docker-compose")
        command = [str(binary), "--file", str(FILE), "--project-name", self.name, *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise EngineError(f"{' '.join(command)} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of each service's container."""
        found = json.loads(self.engine.podman("ps", "--all", "--format", "json"))
        return {
            each["Labels"]["com.docker.compose.service"]: self.engine.inspect("container", each["Id"])
            for each in found
            if each["Labels"] and each["Labels"].get("com.docker.compose.project") == self.name
        }


@contextmanager
def docker_socket(engine: Engine) -> Iterator[None]:
    """Docker's interface, spoken by podman."""
    SOCKET.unlink(missing_ok=True)
    command = ["podman", "system", "service", "--time", "0", f"unix://{SOCKET}"]
    with subprocess.Popen(
        command, env=engine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + HANG_S
            while not SOCKET.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


@contextmanager
def health_checked(engine: Engine) -> Iterator[None]:
    """Podman leaves it to systemd when health checks run; where there is none, this does it."""
    over = threading.Event()

    def check() -> None:
        while not over.wait(0.5):
            for container in engine.podman("ps", "--quiet").split():
                # It fails where the container is not healthy yet, has no check, or has just gone.
                subprocess.run(
                    ["podman", "healthcheck", "run", container],
                    env=engine.environment,
                    capture_output=True,
                    check=False,
                )

    thread = threading.Thread(target=check)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
