"""A picture and what is said of it, in a real browser and against a real service."""

from __future__ import annotations

import re
from base64 import b64encode
from math import log
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from service.assets import ROOT
from tests.page.conftest import Open, Watch
from tests.service.conftest import png

pytestmark = [pytest.mark.browser, pytest.mark.slow]
BOAT = ROOT / "examples" / "boat.png"
SILHOUETTE = ROOT / "examples" / "silhouette.png"


def truth(url: str, picture: bytes, **query: Any) -> dict[str, Any]:
    """What the service itself says of a picture."""
    files = [("images", ("a", picture))]
    answer: dict[str, Any] = httpx.post(f"{url}/predict", params=query, files=files, timeout=60).json()
    return answer


def threshold(url: str, level: str) -> float:
    """The entropy in nats above which a level of the zoo abstains."""
    levels = httpx.get(f"{url}/models/cifar10-resnet20").json()["manifest"]["levels"]
    return float(next(each for each in levels if each["name"] == level)["calibration"]["abstain_above"])


def shown(score: float) -> str:
    """A score of strangeness as the page writes it: three digits, and the sign that people know."""
    return f"{score:#.3g}".replace("-", "−")


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


def test_the_first_visit_shows_an_answer(open_page: Open, zoo: str) -> None:
    """How sure it is and why it accepts stand there before anything is pressed."""
    page = open_page(zoo)
    (said,) = truth(zoo, (ROOT / "examples" / "cat.jpg").read_bytes())["predictions"]
    verdict = page.locator("#verdict")
    expect(verdict.locator(".class")).to_contain_text(said["label"])
    expect(verdict).to_contain_text("Very sure")
    expect(verdict).to_contain_text(f"nats, is below the {threshold(zoo, 'p80'):.2f} at which")
    strange = said["strangeness"]
    expect(verdict).to_contain_text(
        f"Nor is the picture strange to it (energy {shown(strange['value'])}, strange above {shown(strange['above'])})."
    )
    expect(page.locator("#about")).to_contain_text("trained on cifar10")


def test_why_it_abstains(open_page: Open, zoo: str) -> None:
    """In words, with the entropy and the threshold, and as a bar in two parts."""
    page = open_page(zoo)
    choose(page, "silhouette.png")
    (said,) = truth(zoo, SILHOUETTE.read_bytes())["predictions"]
    assert said["decision"] == "abstain"
    parts = said["uncertainty"]
    above = f"{threshold(zoo, 'p80'):.2f}"
    words = f"Ask a person: its uncertainty, an entropy of {parts['total']:.2f} nats, is above the {above}"
    expect(page.locator("#verdict .decision")).to_have_text(re.compile(f"^It abstains{re.escape(words)}"))
    expect(page.locator("#verdict .sureness")).to_have_text("Not sure enough")
    expect(page.locator("#entropy .parts .aleatoric b")).to_have_text(f"{parts['aleatoric']:.2f} nats")
    expect(page.locator("#entropy .parts .epistemic b")).to_have_text(f"{parts['epistemic']:.2f} nats")

    def width(name: str) -> float:
        return float(page.locator(f"#entropy rect.{name}").get_attribute("width") or 0)

    for name in ("aleatoric", "epistemic"):
        assert width(name) / width("track") == pytest.approx(parts[name] / log(10), abs=0.003)


@pytest.mark.parametrize("picture", ["noise.png", "blank.png"])
def test_what_is_strange_to_it(open_page: Open, zoo: str, picture: str) -> None:
    """A picture of nothing is not called uncertain but strange, with the score and the threshold."""
    page = open_page(zoo)
    choose(page, picture)
    (said,) = truth(zoo, (ROOT / "examples" / picture).read_bytes())["predictions"]
    assert said["reason"] == "out_of_distribution"
    energy, above = said["strangeness"]["value"], said["strangeness"]["above"]
    words = (
        "Ask a person: this does not look like the pictures that it learned from "
        f"(energy {shown(energy)}, strange above {shown(above)})."
    )
    expect(page.locator("#verdict .decision")).to_have_text(f"It abstains{words}")
    expect(page.locator("#verdict .sureness")).to_have_text("Not its kind of picture")
    option(page, "Level", "x4").check()
    rows = page.locator("#comparison tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text(f"abstains: strange{said['monte_carlo']['draws']}")
    expect(rows.first).to_contain_text(f"{said['uncertainty']['total']:.2f}")
    expect(rows.first).to_contain_text(f"energy {shown(energy)}{shown(above)}")


def test_each_draw_is_a_dot(open_page: Open, zoo: str) -> None:
    """At its probability, for each of the five first classes; the table for screen readers says the same in numbers."""
    page = open_page(zoo)
    choose(page, "silhouette.png")
    option(page, "Draws", "16").check()
    expect(page.locator("#facts")).to_contain_text("16 draws, as many as it may take")
    (said,) = truth(zoo, SILHOUETTE.read_bytes(), samples=16, draws=True)["predictions"]
    dots = page.locator("#draws .dots circle")
    expect(dots).to_have_count(5 * 16)
    marks = page.locator("#draws .grid").evaluate_all("lines => lines.map(line => Number(line.getAttribute('x1')))")
    places = dots.evaluate_all("dots => dots.map(dot => Number(dot.style.transform.match(/[\\d.]+/)[0]))")
    shares = [(place - marks[0]) / (marks[-1] - marks[0]) for place in places]
    assert shares == pytest.approx([draw for one in said["probabilities"][:5] for draw in one["draws"]], abs=0.001)
    row = page.locator("#draws table tr").nth(1)
    expect(row).to_contain_text(f"{said['label']}{said['probability']:.1%}{said['probabilities'][0]['std']:.1%}")


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


def test_the_prediction_set_follows_alpha(open_page: Open, zoo: str) -> None:
    page = open_page(zoo)
    choose(page, "silhouette.png")
    sizes = []
    for alpha, words in (("0.1", "90%"), ("0.05", "95%"), ("0.01", "99%")):
        option(page, "It holds the right class in at least", words).check()
        (said,) = truth(zoo, SILHOUETTE.read_bytes(), alpha=alpha)["predictions"]
        expect(page.locator("#set li")).to_have_text(said["prediction_set"])
        expect(page.locator("#set .fine")).to_contain_text(f"α = {alpha}")
        sizes.append(len(said["prediction_set"]))
    assert sizes[0] < sizes[2]


def test_a_mistake_that_it_is_sure_of_is_called_one(open_page: Open, zoo: str) -> None:
    """Coffee is none of its classes."""
    page = open_page(zoo)
    choose(page, "coffee.jpg")
    expect(page.locator("#verdict .decision")).to_contain_text("It accepts")
    expect(page.locator("#verdict .aside")).to_contain_text("a mistake that it is sure of")
    choose(page, "boat.png")
    expect(page.locator("#verdict .class")).to_contain_text("ship")
    expect(page.locator("#verdict .aside")).to_have_count(0)


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


def test_an_error_is_said_and_loses_nothing(open_page: Open, zoo: str, tmp_path: Path) -> None:
    """A file that is no picture, and too many draws: the service's own words; answer, picture and settings stay."""
    page = open_page(zoo, prepare=lambda _, watch: watch.expect(r"/predict\?"))
    option(page, "Level", "x4").check()
    expect(page.locator("#facts")).to_contain_text("Level x4")
    before = page.locator("#verdict").inner_text()
    pick(page, "cat.png", b"I am a cat")
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("No answer: this is not a picture of a type read here: PNG, JPEG")
    expect(notice).to_contain_text("Below is still the answer to the picture before.")
    expect(notice.get_by_role("button")).to_have_count(0)
    expect(page.locator("#picture .preview")).to_have_text("Cannot be shown.")
    assert page.locator("#verdict").inner_text() == before
    expect(option(page, "Level", "x4")).to_be_checked()
    choose(page, "boat.png")
    expect(notice).to_be_hidden()
    page.get_by_label("Number of draws").fill("9999")
    expect(notice).to_contain_text("samples must be a whole number from 1 to 256")
    expect(notice).to_contain_text("Below is still the answer from before.")
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


def test_a_key_is_asked_for_and_kept_for_the_tab(open_page: Open, zoo: str) -> None:
    """A wrong one is asked for again, none leaves a way to try again; the right one is sent with each request."""
    page = open_page(zoo, prepare=needs_a_key, answered=False)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It said: no key.")
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
