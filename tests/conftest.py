"""Order the tests, and bring in what several folders of them share."""

from __future__ import annotations

import os
from functools import cache

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# Before they are imported: what they assert is explained as in a test.
pytest.register_assert_rewrite("tests.support")
pytest_plugins = [f"tests.support.fixtures.{name}" for name in ("line", "service", "stores", "scoring", "training")]

# Only one process at a time may have the container engine: these are one's, after each other.
CONTAINERS = ("tests/e2e/images/", "tests/e2e/deploy/test_compose.py")
# These share one study, which others would wait for.
STUDIES = "tests/unit/pruning/study/"


class Files(LoadFileScheduling):
    """A file of tests is one process's."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "containers" if file.startswith(CONTAINERS) else "studies" if file.startswith(STUDIES) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Files:
    return Files(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run here; begin with files of long tests, so that no process ends with one."""
    kept, left_out = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        (kept if _runs_here(item) else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.nodeid.startswith(CONTAINERS), item.path not in long))


def _runs_here(item: pytest.Item) -> bool:
    """Tell if a test on request is requested, and if permissions hold for this user: root may lack setuid."""
    on_request = item.get_closest_marker("on_request")
    if on_request and on_request.args[0] not in os.environ:
        return False
    return "unprivileged" not in getattr(item, "fixturenames", ()) or _can_drop_privileges()


@cache
def _can_drop_privileges() -> bool:
    if os.geteuid() != 0:
        return True
    try:
        os.seteuid(65534)
    except OSError:
        return False
    os.seteuid(0)
    return True
