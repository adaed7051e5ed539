"""What visitors do on the page, and what the service itself says of their picture."""

from __future__ import annotations

from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

from tests.page.conftest import Watch


def truth(url: str, picture: bytes, **query: Any) -> dict[str, Any]:
    """What the service itself says of a picture."""
    files = [("images", ("a", picture))]
    answer: dict[str, Any] = httpx.post(f"{url}/predict", params=query, files=files, timeout=60).json()
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
