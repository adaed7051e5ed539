"""What axe-core finds, light and dark, on a phone and on a desktop, with everything on the page shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.page import DESKTOP, PHONE, Open, choose, measure, needs_a_key, pick, with_status

pytestmark = [pytest.mark.system, pytest.mark.slow]
AXE = Path(__file__).with_name("axe.min.js")


def violations(page: Page) -> list[str]:
    """Rules that the page breaks, and where."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing(open_page: Open, zoo: str, size: dict[str, int], scheme: str) -> None:
    """On the whole page with an abstention, measured levels and drift, and then with an error."""
    page = open_page(zoo, prepare=with_status, viewport=size, color_scheme=scheme)
    choose(page, "silhouette.png")
    expect(page.locator(".decision.abstain")).to_be_visible()
    measure(page)
    expect(page.locator("#live")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_where_things_go_wrong(open_page: Open, zoo: str, scheme: str) -> None:
    """With a dialog open, and with an error shown."""
    page = open_page(zoo, prepare=needs_a_key, answered=False, color_scheme=scheme)
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
    page.get_by_label("API key").fill("open-sesame")
    page.keyboard.press("Enter")
    expect(page.locator("#answered")).to_be_visible()
    pick(page, "cat.png", b"I am a cat")
    expect(page.get_by_role("alert")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1280])
def test_nothing_sticks_out(open_page: Open, zoo: str, width: int) -> None:
    """The page never scrolls sideways; what is wider scrolls by itself."""
    page = open_page(zoo, prepare=with_status, viewport={"width": width, "height": 800})
    measure(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_answer_is_on_a_phone_s_first_screen(open_page: Open, zoo: str) -> None:
    """What it says, and whether it accepts, without scrolling."""
    page = open_page(zoo, viewport=PHONE)
    box = page.locator("#verdict .decision b").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < PHONE["height"]
