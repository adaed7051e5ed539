"""How the page is asked, by mouse, keyboard, drop and paste, and what it says where that goes wrong, in a browser."""

from __future__ import annotations

import re
from base64 import b64encode

import numpy as np
import pytest
from playwright.sync_api import expect

from service.api.routes.ui import ROOT
from tests.support.images import png
from tests.support.page import Open, choose, needs_a_key, option, pick, truth

pytestmark = [pytest.mark.system, pytest.mark.slow]
BOAT = ROOT / "examples" / "boat.png"
SILHOUETTE = ROOT / "examples" / "silhouette.png"


def test_level_and_draws_can_be_switched(open_page: Open, zoo: str) -> None:
    """Each switch asks again about the same picture, and what was said before stays in sight."""
    page = open_page(zoo)
    choose(page, "silhouette.png")
    expect(page.locator("#facts")).to_contain_text("Level p80")
    option(page, "Level", "x4").check()
    expect(page.locator("#facts")).to_contain_text("Level x4")
    expect(page.locator("#settings .fine")).to_contain_text(
        "Level x4: 77% of the weights are pruned away, in whole channels."
    )
    (said,) = truth(zoo, SILHOUETTE.read_bytes(), level="x4")["predictions"]
    expect(page.locator("#verdict .class span")).to_have_text(f"{said['probability']:.1%}")
    expect(page.locator("#verdict .before")).to_have_text(re.compile(r"Before: p80, \d+ draws: horse .* abstained"))
    for draws in ("1", "64"):
        option(page, "Draws", draws).check()
        expect(page.locator("#draws .dots circle")).to_have_count(5 * int(draws))
    page.get_by_label("Number of draws").fill("7")
    expect(page.locator("#draws .dots circle")).to_have_count(5 * 7)
    expect(option(page, "Draws", "64")).not_to_be_checked()
    option(page, "Draws", "auto").check()
    expect(page.get_by_label("Number of draws")).to_have_value("")
    expect(page.locator("#verdict .before")).to_contain_text("Before: x4, 7 draws")


def test_pictures_come_from_disk_by_drop_and_by_paste(open_page: Open, zoo: str) -> None:
    page = open_page(zoo)
    verdict = page.locator("#verdict .class strong")
    noise = png(np.random.default_rng(5).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    for event, carrier in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        pick(page, "noise.png", noise)
        expect(page.locator("#picture .caption")).to_have_text("noise.png")
        expect(verdict).not_to_have_text("ship")
        page.evaluate(
            """async ([event, carrier, data]) => {
                const bytes = await (await fetch("page/examples/boat.png")).blob();
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], `by-${event}.png`, { type: "image/png" }));
                const kind = event === "drop" ? DragEvent : ClipboardEvent;
                document.body.dispatchEvent(new kind(event, { [carrier]: transfer, bubbles: true, cancelable: true }));
            }""",
            [event, carrier, b64encode(BOAT.read_bytes()).decode()],
        )
        expect(page.locator("#picture .caption")).to_have_text(f"by-{event}.png")
        expect(verdict).to_have_text("ship")
    expect(page.locator("#picture .preview img")).to_have_attribute("alt", "your picture by-paste.png")
    expect(page.locator("#picture canvas")).to_have_js_property("width", 32)


def test_an_error_is_said_and_loses_nothing(open_page: Open, zoo: str) -> None:
    """A file that is no picture, and too many draws: the service's own words; answer, picture and settings stay."""
    page = open_page(zoo, prepare=lambda _, watch: watch.expect(r"/predict\?"))
    option(page, "Level", "x4").check()
    expect(page.locator("#facts")).to_contain_text("Level x4")
    before = page.locator("#verdict").inner_text()
    pick(page, "cat.png", b"I am a cat")
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("No answer: this is not a picture of a supported type: PNG, JPEG")
    expect(notice).to_contain_text("The answer below is to the previous picture.")
    expect(notice.get_by_role("button")).to_have_count(0)
    expect(page.locator("#picture .preview")).to_have_text("No preview.")
    assert page.locator("#verdict").inner_text() == before
    expect(option(page, "Level", "x4")).to_be_checked()
    choose(page, "boat.png")
    expect(notice).to_be_hidden()
    page.get_by_label("Number of draws").fill("9999")
    expect(notice).to_contain_text("samples must be a whole number from 1 to 256")
    expect(notice).to_contain_text("The answer below is the previous one.")
    expect(page.get_by_label("Number of draws")).to_have_value("9999")
    option(page, "Draws", "4").check()
    expect(notice).to_be_hidden()
    expect(page.locator("#facts")).to_contain_text("Level x4: 4 draws")


def test_a_service_that_is_away_can_be_asked_again(open_page: Open, zoo: str) -> None:
    page = open_page(zoo, prepare=lambda _, watch: watch.expect(r"/predict\?"))
    page.route("**/predict?*", lambda route: route.abort())
    choose(page, "boat.png")
    expect(page.get_by_role("alert")).to_contain_text("the service cannot be reached")
    page.unroute("**/predict?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#verdict .class")).to_contain_text("ship")


def test_the_keyboard_is_enough(open_page: Open, zoo: str) -> None:
    """Example, level and draws without a mouse, in the order in which they stand."""
    page = open_page(zoo)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the answer")).to_be_focused()
    page.locator('[data-file="boat.png"]').focus()
    page.keyboard.press("Enter")
    expect(page.locator("#verdict .class")).to_contain_text("ship")
    option(page, "Level", "p80").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#facts")).to_contain_text("Level p90")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#facts")).to_contain_text("Level p90: 1 draw")


def test_another_model_brings_its_own_examples(open_page: Open, two_models: str) -> None:
    """Levels, classes and examples are those of the model that is chosen; an unsuitable picture stays."""
    page = open_page(two_models)
    model = page.get_by_role("combobox", name="Model")
    expect(model).to_have_value("cifar10-resnet20")
    model.select_option("digits")
    expect(page.locator('[data-file="zero.png"]')).to_be_visible()
    expect(page.locator('[data-file="cat.jpg"]')).to_have_count(0)
    expect(page.locator("#picture canvas")).to_have_js_property("width", 8)
    choose(page, "zero.png")
    expect(page.locator("#verdict .class strong")).to_have_text("0")
    expect(option(page, "Level", "p50")).to_be_visible()
    expect(page.locator("#about")).to_contain_text("trained on digits")
    expect(page.locator("#table tbody tr")).to_have_count(5 + 3)


def test_a_key_is_asked_for_and_kept_for_the_tab(open_page: Open, zoo: str) -> None:
    """A wrong one is asked for again, none leaves a way to try again; the right one is sent with each request."""
    page = open_page(zoo, prepare=needs_a_key, answered=False)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The service answered: no key.")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert")).to_contain_text("No answer: no key.")
    page.get_by_role("button", name="Try again").click()
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_label("API key")).to_have_value("")
    page.get_by_label("API key").fill("open-sesame")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#answered")).to_be_visible()
    expect(dialog).to_be_hidden()
    stored = page.evaluate("[Object.values(sessionStorage), Object.values(localStorage), document.cookie]")
    assert stored == [["open-sesame"], [], ""]
    page.reload()
    expect(page.locator("#answered")).to_be_visible()
    expect(page.get_by_role("button", name="Key")).to_be_visible()


def test_documentation_works_without_inline_code(open_page: Open, zoo: str) -> None:
    """The description of the API is drawn under the same policy as the page, and complains of nothing."""
    page = open_page(zoo)
    page.get_by_role("link", name="API", exact=True).click()
    expect(page.get_by_text("Classify images and say how sure it is")).to_be_visible()
