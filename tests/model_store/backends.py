"""Everything that a store can lie on, for the tests that hold for each: real servers, on 127.0.0.1, started once.

A test that takes `place` runs once a backend, each time with an empty place. To add a backend, write a function that
gives a new place, with a session's fixture for its server, and enter it into BACKENDS.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from tests.model_store.registry_server import registry_server

ROOT = Path(__file__).parents[2]
SWIFT = ROOT / ".venv-swift" / "bin" / "python"
BUCKET = "store"


@dataclass(frozen=True)
class Place:
    """An empty place for a store: its URL, the environment it needs, and `host:port` of its server, if it has one.

    `litter` says whether a publisher that dies may leave something that can be seen.
    """

    url: str
    environment: Mapping[str, str] = field(default_factory=dict)
    server: str = ""
    litter: bool = True

    def through(self, address: str) -> Place:
        """The same place by way of a proxy that listens at `host:port`."""
        environment = {name: value.replace(self.server, address) for name, value in self.environment.items()}
        return replace(self, url=self.url.replace(self.server, address), environment=environment)


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an S3 server with a bucket that `test:tester` owns and `test:reader` may read."""
    if not SWIFT.exists():
        pytest.skip("Swift is not installed: `make .venv-swift/.ready` does it")
    command = [str(SWIFT), "-W", "ignore", str(Path(__file__).with_name("swift_server.py"))]
    server = subprocess.Popen(
        [*command, str(tmp_path_factory.mktemp("swift"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url, "Swift did not start"
        who = {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
        entered = httpx.get(f"{url}/auth/v1.0", headers=who).headers
        access = {"X-Auth-Token": entered["X-Auth-Token"], "X-Container-Read": "test:reader"}
        httpx.put(f"{entered['X-Storage-Url']}/{BUCKET}", headers=access).raise_for_status()
        yield url
    finally:
        server.kill()
        server.communicate()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of an OCI registry that lets anybody do anything."""
    with registry_server(tmp_path_factory.mktemp("registry"), in_memory=True) as address:
        yield address


def in_folder(request: pytest.FixtureRequest) -> Place:
    """A folder that is not there yet."""
    folder: Path = request.getfixturevalue("tmp_path")
    return Place(str(folder / "store"))


def in_bucket(request: pytest.FixtureRequest) -> Place:
    """A folder of the bucket that has no objects."""
    url: str = request.getfixturevalue("swift")
    return Place(f"s3://{BUCKET}/{uuid.uuid4().hex}", s3_environment(url), url.removeprefix("http://"))


def in_registry(request: pytest.FixtureRequest) -> Place:
    """A repository that is not there yet."""
    address: str = request.getfixturevalue("registry")
    return Place(f"oci://{address}/{uuid.uuid4().hex}/models", server=address, litter=False)


def s3_environment(url: str, user: str = "tester", key: str = "testing") -> dict[str, str]:
    """How to reach the S3 server at a URL."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": f"test:{user}",
        "AWS_SECRET_ACCESS_KEY": key,
    }


BACKENDS: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "folder": in_folder,
    "s3": in_bucket,
    "oci": in_registry,
}


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty place of each backend, and this process's environment so that it can be reached."""
    found = BACKENDS[request.param](request)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found
