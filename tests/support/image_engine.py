"""A container engine for the image test: podman and buildah with settings, storage and base image of the test's own.

Nothing of the user's engine is read or changed. The storage lies in the user's cache folder: a second build is quick.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.waiting import HANG_S

BASE_IMAGE = "localhost/debian:12-slim"
REQUIRED_TOOLS = ("podman", "buildah", "runc", "mmdebstrap", "make")
# Short, since sockets lie under it, and gone after a reboot, as podman wants it.
RUN_ROOT = Path("/run/slimbayes-image-test")
# Gives containers networks of their own, where it is installed.
NETAVARK = Path("/usr/lib/podman/netavark")
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
WHEELS = "/wheels"

_STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{cache}/storage"
runroot = "{run}/storage"
"""
# Works without systemd, without a network of its own, and under a low limit of open files.
_CONTAINERS_CONF = """\
[containers]
netns = "host"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"
tmp_dir = "{run}/engine"

[network]
network_backend = "{backend}"
network_config_dir = "{cache}/networks"
"""


class EngineError(Exception):
    """An engine's command failed; the message holds the command and what it printed."""


def missing_requirement() -> str | None:
    """Why images cannot be built and run here, or None."""
    missing = [tool for tool in REQUIRED_TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not on PATH: {', '.join(missing)} (.ci/containers installs them on Debian)"
    if os.geteuid() != 0:
        return "building and running images needs root here"
    return None


class Engine:
    """Builds images and runs containers. Only one process at a time may hold one: see `open_engine`."""

    def __init__(self, cache: Path, run_root: Path = RUN_ROOT) -> None:
        (cache / "networks").mkdir(parents=True, exist_ok=True)
        run_root.mkdir(parents=True, exist_ok=True)
        storage, containers = cache / "storage.conf", cache / "containers.conf"
        storage.write_text(_STORAGE_CONF.format(cache=cache, run=run_root))
        backend = "netavark" if NETAVARK.exists() else "cni"
        containers.write_text(_CONTAINERS_CONF.format(run=run_root, cache=cache, backend=backend))
        self._cache = cache
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("CONTAINER_")}
        self.environment |= {"CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(containers)}

    def podman(self, *arguments: str, timeout: float = 60) -> str:
        """Run podman and return what it printed."""
        return self._run(["podman", *arguments], timeout=timeout).stdout.strip()

    def run(self, *command: str, timeout: float = 300) -> str:
        """Run a tool of the engine, such as buildah, and return what it printed."""
        return self._run(list(command), timeout=timeout).stdout.strip()

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """What podman knows of an image or a container."""
        found: list[dict[str, Any]] = json.loads(self.podman("inspect", "--type", kind, name))
        return found[0]

    def logs(self, container: str) -> str:
        """What the container has printed, both streams."""
        done = self._run(["podman", "logs", container], timeout=HANG_S)
        return done.stdout + done.stderr

    def build(self, project: Path, image: str, target: str = "image", *more: str) -> None:
        """Build one of the project's images as a user does, with `make`, on a Debian base of our own."""
        self._ensure_base()
        flags = ["--isolation", "chroot", "--layers", *more]
        if bundle := os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE"):
            flags += ["--volume", f"{Path(bundle).resolve()}:{CA_BUNDLE}:ro", "--build-arg", f"PIP_CERT={CA_BUNDLE}"]
        wheels = os.environ.get("PIP_FIND_LINKS", "")
        if os.path.isdir(wheels):
            # Torch may lie there, and then its own index need not be asked.
            flags += ["--volume", f"{wheels}:{WHEELS}:ro", "--build-arg", f"PIP_FIND_LINKS={WHEELS}"]
            flags += ["--build-arg", "TORCH_INDEX_URL="]
        settings = {"BUILDER": "buildah", "BASE_IMAGE": BASE_IMAGE, "BUILD_FLAGS": " ".join(flags)}
        settings |= {"IMAGE": image, "TRAIN_IMAGE": image}
        command = ["make", "--directory", str(project), target, *(f"{key}={value}" for key, value in settings.items())]
        try:
            self._run(command, timeout=HANG_S)
        except EngineError as error:
            # Buildah itself, or a registry, may fail once; what is wrong with the Dockerfile fails again.
            print(f"building again after:\n{error}")
            self._run(command, timeout=HANG_S)

    def remove_containers(self) -> None:
        """Stop and remove every container of this storage, and what a failed build left."""
        self._run(["buildah", "rm", "--all"], timeout=HANG_S)
        self.podman("rm", "--all", "--force", "--volumes", "--time", "1")
        self.podman("network", "prune", "--force")
        self.podman("volume", "prune", "--force")

    def prune_images(self) -> None:
        """Drop the build's layers that are older than a day and in no image."""
        self.podman("image", "prune", "--force", "--filter", "until=24h", timeout=HANG_S)

    def _ensure_base(self) -> None:
        if BASE_IMAGE in self.podman("images", "--format", "{{.Repository}}:{{.Tag}}").split():
            return
        root = self._cache / "base.tar"
        packages = "--include=python3,python3-venv,ca-certificates"
        self._run(["mmdebstrap", "--quiet", "--variant=minbase", packages, "bookworm", str(root)], timeout=HANG_S)
        self.podman("import", "--quiet", str(root), BASE_IMAGE, timeout=HANG_S)
        root.unlink()

    def _run(self, command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise EngineError(f"{' '.join(command)} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done


@contextlib.contextmanager
def open_engine() -> Iterator[Engine]:
    """The engine, for this process alone; it leaves images behind, but no container."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slimbayes-image-test"
    RUN_ROOT.mkdir(parents=True, exist_ok=True)
    with (RUN_ROOT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine = Engine(cache)
        engine.remove_containers()
        try:
            yield engine
        finally:
            engine.remove_containers()
            engine.prune_images()
