"""Services in processes of their own, and a page of one in a real Chromium, which must end without a complaint."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from model_store.storage.location import ZOO
from tests.support.page import DESKTOP, Open, Watch, missing_chromium, open_chromium
from tests.support.requirements import require
from tests.support.services import running_service
from tests.support.sharing import Interfaces

SLOW_MS = 20_000
expect.set_options(timeout=SLOW_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each module: while it is open, this thread has an event loop, which other tests need not to be there."""
    require(missing_chromium())
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


@pytest.fixture
def watch() -> Iterator[list[Watch]]:
    """The watches of all pages that a test opened; none may have seen a complaint or a request to elsewhere."""
    watches: list[Watch] = []
    yield watches
    for each in watches:
        assert each.complaints == []
        assert each.origins <= each.allowed


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
