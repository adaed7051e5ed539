"""Takes the README's pictures of the page: `python -m tests.e2e.page.screenshots` writes them to docs/pictures.

The service, its answers and its times are real.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect

from model_store.storage.location import ZOO
from tests.support.page import PHONE, open_chromium
from tests.support.project import PROJECT
from tests.support.services import running_service

# High enough for the draws and the entropy, and for the levels with their table.
ANSWER, LEVELS = ViewportSize(width=1280, height=1320), ViewportSize(width=1280, height=1080)
FOLDER = PROJECT / "docs" / "pictures"


def opened(browser: Browser, url: str, size: ViewportSize, scheme: str) -> Page:
    """The page with a picture that is abstained on, and all levels measured."""
    page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=2 if size == PHONE else 1.5)
    page.goto(url)
    page.locator('[data-file="silhouette.png"]').click()
    expect(page.locator(".decision.abstain")).to_be_visible()
    page.locator("#advice button").click()
    expect(page.locator("#advice [role=status]")).to_have_text("", timeout=60_000)
    page.mouse.move(0, 0)
    return page


def save(page: Page, name: str) -> None:
    """What is on the screen now, in few enough colours to be a small file."""
    page.wait_for_timeout(600)  # until the dots have arrived
    shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
    shot.quantize(192, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)


def main() -> None:
    """Desktop and phone, light and dark."""
    FOLDER.mkdir(exist_ok=True)
    with (
        TemporaryDirectory() as folder,
        running_service(copytree(ZOO, Path(folder, "zoo"))) as (url, _),
        open_chromium() as browser,
    ):
        for scheme in ("light", "dark"):
            page = opened(browser, url, ANSWER, scheme)
            page.evaluate("scrollTo(0, 0)")
            save(page, f"answer-{scheme}")
            page.set_viewport_size(LEVELS)
            page.evaluate("document.getElementById('levels').scrollIntoView()")
            save(page, f"levels-{scheme}")
        page = opened(browser, url, PHONE, "light")
        page.evaluate("scrollTo(0, 0)")
        save(page, "phone")


if __name__ == "__main__":
    main()
