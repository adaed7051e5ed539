"""Services in processes of their own, and a page of one in a real Chromium, which must end without a complaint."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from model_store.location import ZOO
from tests.conftest import Interfaces
from tests.page.chromium import DESKTOP, missing_chromium, open_chromium
from tests.service.conftest import running_service

SLOW_MS = 20_000
expect.set_options(timeout=SLOW_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each module: while it is open, this thread has an event loop, which other tests need not to be there."""
    if reason := missing_chromium():
        pytest.skip(reason)
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service of the zoo, as a store like any other."""
    store = shutil.copytree(ZOO, tmp_path_factory.mktemp("stores") / "zoo")
    with running_service(store) as (url, _):
        yield url


@pytest.fixture(scope="session")
def two_models(digits_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service of the zoo's model and of digits."""
    store = tmp_path_factory.mktemp("stores") / "both"
    shutil.copytree(digits_store, store)
    shutil.copytree(ZOO, store, dirs_exist_ok=True)
    with running_service(store) as (url, _):
        yield url


class Watch:
    """What a page complained of, and where it went; failures that a test provokes must be announced."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.expected: list[str] = []
        self.complaints: list[str] = []
        self.allowed, self.origins = {origin, "blob:"}, set[str]()
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self.origins.add(re.sub(r"^(\w+://[^/]*|\w+:).*", r"\1", request.url)))

    def expect(self, pattern: str) -> None:
        """Requests to such addresses may fail."""
        self.expected.append(pattern)

    def _on_console(self, message: ConsoleMessage) -> None:
        announced = any(re.search(pattern, message.location["url"]) for pattern in self.expected)
        if message.type in ("error", "warning") and not announced:
            self.complaints.append(f"{message.type}: {message.text}")


@pytest.fixture
def watch() -> Iterator[list[Watch]]:
    """The watches of all pages that a test opened; none may have seen a complaint or a request to elsewhere."""
    watches: list[Watch] = []
    yield watches
    for each in watches:
        assert each.complaints == []
        assert each.origins <= each.allowed


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, watch: list[Watch], interfaces: Interfaces) -> Iterator[Open]:
    """Opens the page of a service, as wide and as dark as asked, and waits for its first answer."""
    contexts = []

    def open_it(
        url: str, *, prepare: Callable[[Page, Watch], None] | None = None, answered: bool = True, **options: object
    ) -> Page:
        context = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
        contexts.append(context)
        watch.append(Watch(context, url))
        page = context.new_page()
        page.set_default_timeout(SLOW_MS)
        if prepare:
            prepare(page, watch[-1])
        page.goto(url)
        if answered:
            expect(page.locator("#answered")).to_be_visible()
        return page

    with interfaces(changed=False):
        yield open_it
        for context in contexts:
            context.close()
