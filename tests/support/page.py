"""Drive the service's page in a real Chromium, as Debian packages it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.support.waiting import HANG_S

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
Open = Callable[..., Page]
LIVE = {
    "labels": 400,
    "accuracy": {"value": 0.9, "low": 0.867, "high": 0.926, "images": 400},
    "accepted_accuracy": None,
    "ece": {"value": 0.031, "low": 0.0, "high": 0.062, "images": 400},
    "coverage": {"0.1": {"value": 0.8, "low": 0.758, "high": 0.836, "images": 400, "p_value": 1e-7, "below": True}},
}
STATUS = {
    "load": {"queued": 512, "capacity": 65536, "step": 2, "answered_per_second": 41.27},
    "levels": [
        {"model": "cifar10-resnet20", "version": "v", "level": "p80", "answered": 4200, "abstained": 840,
         "drift": {"count": 1024, "confidence": 0.04, "entropy": 0.2, "mutual_information": 0.31}, "live": LIVE},
        {"model": "cifar10-resnet20", "version": "v", "level": "x4", "answered": 0, "abstained": 0,
         "drift": {"count": 0, "confidence": None, "entropy": None, "mutual_information": None}},
    ],
}  # fmt: skip


def truth(url: str, picture: bytes, **query: Any) -> dict[str, Any]:
    """What the service itself says of a picture."""
    files = [("images", ("a", picture))]
    answer: dict[str, Any] = httpx.post(f"{url}/predict", params=query, files=files, timeout=HANG_S).json()
    return answer


def choose(page: Page, name: str) -> None:
    """Press an example."""
    page.locator(f'[data-file="{name}"]').click()
    expect(page.locator(f'[data-file="{name}"]')).to_have_attribute("aria-pressed", "true")


def option(page: Page, group: str, value: str) -> Locator:
    """A radio button of a group."""
    return page.get_by_role("group", name=group, exact=True).get_by_role("radio", name=value, exact=True)


def pick(page: Page, name: str, data: bytes, media_type: str = "image/png") -> None:
    """Choose a file from disk."""
    page.locator("#file").set_input_files({"name": name, "mimeType": media_type, "buffer": data})


def needs_a_key(page: Page, watch: Watch) -> None:
    """Put a guard before the service: what comes without the right key gets 401, as a service with keys answers."""
    problem = {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "no key", "request_id": "a"}

    def guard(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer open-sesame":
            route.continue_()
        else:
            route.fulfill(status=401, json=problem, content_type="application/problem+json")

    for path in ("**/models*", "**/models/*", "**/predict?*"):
        page.route(path, guard)
    watch.expect("/models|/predict")


def missing_chromium() -> str | None:
    """Why no page can be opened here, or None."""
    return None if shutil.which("chromium") else "not on PATH: chromium (.ci/browser installs it on Debian)"


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """A browser without a window; its sandbox does not work for root."""
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser
        browser.close()


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


def measure(page: Page) -> None:
    """Have all levels timed."""
    page.locator("#advice button").click()
    expect(page.locator("#advice [role=status]")).to_have_text("")
    expect(page.locator("#plot .point")).to_have_count(5)


def with_status(page: Page, _: Watch) -> None:
    """A status that no test could bring about: half a queue, degraded answers, drift of every kind."""
    page.route("**/status", lambda route: route.fulfill(json=STATUS))
