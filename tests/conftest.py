"""Order the tests, and bring in what several folders of them share."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# Before they are imported: what they assert is explained as in a test.
pytest.register_assert_rewrite("tests.support")
pytest_plugins = [f"tests.support.fixtures.{name}" for name in ("line", "service", "stores", "scoring", "training")]

# Only one process at a time may have the container engine: these are one's, after each other.
CONTAINERS = ("tests/e2e/images/", "tests/e2e/deploy/test_compose.py")


class Files(LoadFileScheduling):
    """A file of tests is one process's."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "containers" if file.startswith(CONTAINERS) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Files:
    return Files(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests begin first, so that no process is left with one at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.nodeid.startswith(CONTAINERS), item.path not in long))
