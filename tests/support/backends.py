"""Everything that a store can lie on, for the tests that hold for each: real servers, on 127.0.0.1, started once.

A test that takes `place` runs once a backend, each time with an empty place. To add a backend, write a function that
gives a new place, with a session's fixture for its server, and enter it into BACKENDS.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.project import PROJECT

SWIFT = PROJECT / ".venv-swift"
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
# Those that are more than Python; what holds only where there is a server runs on these.
SERVERS = [pytest.param(name, marks=pytest.mark.system) for name in ("s3", "oci")]
