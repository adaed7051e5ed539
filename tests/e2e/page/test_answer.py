"""What is said of a picture, in a real browser and against a real service."""

from __future__ import annotations

import re
from math import log

import httpx
import pytest
from playwright.sync_api import expect

from service.api.routes.ui import ROOT
from tests.support.page import Open, choose, option, truth

pytestmark = [pytest.mark.system, pytest.mark.slow]
SILHOUETTE = ROOT / "examples" / "silhouette.png"


def threshold(url: str, level: str) -> float:
    """The entropy in nats above which a level of the zoo abstains."""
    levels = httpx.get(f"{url}/models/cifar10-resnet20").json()["manifest"]["levels"]
    return float(next(each for each in levels if each["name"] == level)["calibration"]["abstain_above"])


def shown(score: float) -> str:
    """An OOD score as the page writes it: three digits, and the sign that people know."""
    return f"{score:#.3g}".replace("-", "−")


def test_the_first_visit_shows_an_answer(open_page: Open, zoo: str) -> None:
    """How sure it is and why it accepts stand there before anything is pressed."""
    page = open_page(zoo)
    (said,) = truth(zoo, (ROOT / "examples" / "cat.jpg").read_bytes())["predictions"]
    verdict = page.locator("#verdict")
    expect(verdict.locator(".class")).to_contain_text(said["label"])
    expect(verdict).to_contain_text("Very sure")
    expect(verdict).to_contain_text(f"nats, is below the {threshold(zoo, 'p80'):.2f} at which")
    strange = said["ood"]
    scores = f"OOD score: energy {shown(strange['value'])}, threshold {shown(strange['threshold'])}"
    expect(verdict).to_contain_text(f"The picture is like the training data ({scores}).")
    expect(page.locator("#about")).to_contain_text("trained on cifar10")


def test_why_it_abstains(open_page: Open, zoo: str) -> None:
    """In words, with the entropy and the threshold, and as a bar in two parts, of which the second is a lower bound."""
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
    expect(page.locator("#entropy .parts .aleatoric dt")).to_contain_text("Within the draws (aleatoric)")
    expect(page.locator("#entropy .parts .epistemic dt")).to_contain_text("Between the draws (epistemic)")
    expect(page.locator("#entropy .parts .epistemic dd")).to_contain_text("With few random layers it is a lower bound")

    def width(name: str) -> float:
        return float(page.locator(f"#entropy rect.{name}").get_attribute("width") or 0)

    for name in ("aleatoric", "epistemic"):
        assert width(name) / width("track") == pytest.approx(parts[name] / log(10), abs=0.003)


def test_an_interval_takes_twenty_draws(open_page: Open, zoo: str) -> None:
    """From there on it stands in words, in the plot, in its key, and in the table for screen readers."""
    page = open_page(zoo)
    choose(page, "silhouette.png")
    key = page.locator("#draws .keys li", has_text="nine draws in ten")
    option(page, "Draws", "4").check()
    expect(key).to_be_hidden()
    expect(page.locator("#draws table tr").nth(1)).to_contain_text("none from fewer than 20 draws")
    option(page, "Draws", "64").check()
    expect(page.locator("#draws rect.interval")).to_have_count(5)
    expect(key).to_be_visible()
    first = truth(zoo, SILHOUETTE.read_bytes(), samples=64)["predictions"][0]["probabilities"][0]
    said = f"Nine draws in ten give {first['label']} between {first['low']:.0%} and {first['high']:.0%}."
    expect(page.locator("#verdict")).to_contain_text(said)


@pytest.mark.parametrize("picture", ["noise.png", "blank.png"])
def test_what_is_strange_to_it(open_page: Open, zoo: str, picture: str) -> None:
    """A picture of nothing is called not uncertain but out of distribution, with the score and the threshold."""
    page = open_page(zoo)
    choose(page, picture)
    (said,) = truth(zoo, (ROOT / "examples" / picture).read_bytes())["predictions"]
    assert said["reason"] == "out_of_distribution"
    energy, above = said["ood"]["value"], said["ood"]["threshold"]
    words = (
        "Ask a person: the picture is unlike the training data "
        f"(OOD score: energy {shown(energy)}, threshold {shown(above)})."
    )
    expect(page.locator("#verdict .decision")).to_have_text(f"It abstains{words}")
    expect(page.locator("#verdict .sureness")).to_have_text("Out of distribution")
    option(page, "Level", "x4").check()
    rows = page.locator("#comparison tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text(f"abstains: OOD{said['monte_carlo']['draws']}")
    expect(rows.first).to_contain_text(f"{said['uncertainty']['total']:.2f}")
    expect(rows.first).to_contain_text(f"energy {shown(energy)}{shown(above)}")


def test_each_draw_is_a_dot(open_page: Open, zoo: str) -> None:
    """At its probability, for each of the five first classes; the table for screen readers says the same in numbers."""
    page = open_page(zoo)
    choose(page, "silhouette.png")
    option(page, "Draws", "16").check()
    expect(page.locator("#facts")).to_contain_text("16 draws, the most that it may take")
    (said,) = truth(zoo, SILHOUETTE.read_bytes(), samples=16, draws=True)["predictions"]
    dots = page.locator("#draws .dots circle")
    expect(dots).to_have_count(5 * 16)
    marks = page.locator("#draws .grid").evaluate_all("lines => lines.map(line => Number(line.getAttribute('x1')))")
    places = dots.evaluate_all("dots => dots.map(dot => Number(dot.style.transform.match(/[\\d.]+/)[0]))")
    shares = [(place - marks[0]) / (marks[-1] - marks[0]) for place in places]
    assert shares == pytest.approx([draw for one in said["probabilities"][:5] for draw in one["draws"]], abs=0.001)
    expect(page.locator("#draws rect.interval")).to_have_count(0)
    expect(page.locator("#verdict")).to_contain_text("16 draws are too few for an interval, which takes 20")
    row = page.locator("#draws table tr").nth(1)
    expect(row).to_contain_text(f"{said['label']}{said['probability']:.1%}{said['probabilities'][0]['std']:.1%}")


def test_the_prediction_set_follows_alpha(open_page: Open, zoo: str) -> None:
    page = open_page(zoo)
    choose(page, "silhouette.png")
    sizes = []
    for alpha, words in (("0.1", "90%"), ("0.05", "95%"), ("0.01", "99%")):
        option(page, "Coverage of about", words).check()
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
    expect(page.locator("#verdict .aside")).to_contain_text("a confident mistake")
    choose(page, "boat.png")
    expect(page.locator("#verdict .class")).to_contain_text("ship")
    expect(page.locator("#verdict .aside")).to_have_count(0)
