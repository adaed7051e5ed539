"""A real Chromium, as Debian packages it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


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
