"""Which level to deploy, all models as a table, and what goes on, in a real browser and against a real service."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.page import Open, Watch, choose, measure, option, with_status

pytestmark = [pytest.mark.system, pytest.mark.slow]
ADVISE = """async ([levels, loss, cost]) => {
    const [{ advise }, { COSTS }] = await Promise.all([import("/page/advice.js"), import("/page/measures.js")]);
    const { chosen, sentences } = advise(levels, loss, COSTS[cost]);
    return [chosen.name, sentences.join(" ")];
}"""


def listed(url: str) -> list[dict[str, Any]]:
    """The levels of the zoo's model, as GET /models lists them."""
    levels: list[dict[str, Any]] = httpx.get(f"{url}/models").json()["models"][0]["versions"][0]["levels"]
    return levels


def test_levels_can_be_measured(open_page: Open, zoo: str) -> None:
    """One press fills the plot, the words and the comparison of the picture at each level."""
    page = open_page(zoo)
    choose(page, "silhouette.png")
    expect(page.locator("#advice")).to_contain_text("Based on multiply-adds only")
    counts = {level["name"]: level["latency_ms"]["count"] for level in listed(zoo)}
    expect(option(page, "Across", "multiply-adds")).to_be_checked()
    measure(page)
    expect(option(page, "Across", "time")).to_be_checked()
    assert all(level["latency_ms"]["count"] >= counts[level["name"]] + 9 for level in listed(zoo))
    expect(page.locator("#advice .deploy")).to_have_text(re.compile("^Deploy (dense|p80)$"))
    expect(page.locator("#advice")).not_to_contain_text("multiply-adds only")
    expect(page.locator("#plot .fine")).to_contain_text("Time: median of 9 runs of 8 draws on your picture")
    rows = page.locator("#comparison tbody tr")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text(re.compile("dense.*horse .*accepts"))
    page.locator("#loss").select_option("0.05")
    # The cut levels differ less in time than machines do: which of them is fastest is the measurement's to say.
    expect(page.locator("#advice .deploy")).to_have_text(re.compile("^Deploy (p80|p90|p95|x4)$"))


def test_the_front_is_the_service_s(open_page: Open, zoo: str) -> None:
    """With accuracy against multiply-adds the levels on the line are those that GET /models marks; area is size."""
    page = open_page(zoo)
    option(page, "Across", "multiply-adds").check()
    expect(page.locator("#plot .point")).to_have_count(5)
    names = page.locator("#plot .point.on-front").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert {name.split(":")[0] for name in names} == {level["name"] for level in listed(zoo) if level["pareto"]}
    radius = {}
    for point in page.locator("#plot .point").all():
        radius[(point.get_attribute("aria-label") or "").split(":")[0]] = float(
            point.locator(".area").get_attribute("r") or 0
        )
    size = {level["name"]: level["bytes"] for level in listed(zoo)}
    assert (radius["p90"] / radius["dense"]) ** 2 == pytest.approx(size["p90"] / size["dense"], abs=0.01)


@pytest.mark.parametrize(
    ("quality", "key", "up"), [("accuracy", "accuracy", 1), ("NLL", "nll", -1), ("ECE", "ece", -1)]
)
def test_every_measure_can_be_plotted(open_page: Open, zoo: str, quality: str, key: str, up: int) -> None:
    """Whatever is chosen, what is better stands higher, and what costs more stands further to the right."""
    page = open_page(zoo)
    option(page, "Up", quality).check()
    option(page, "Across", "size").check()
    expect(page.locator("#plot .axis").last).to_contain_text(quality)
    levels = {level["name"]: level for level in listed(zoo)}
    places = {}
    for point in page.locator("#plot .point").all():
        centre = point.locator(".centre")
        name = (point.get_attribute("aria-label") or "").split(":")[0]
        places[name] = (float(centre.get_attribute("cx") or 0), float(centre.get_attribute("cy") or 0))
    assert sorted(places, key=lambda name: places[name][0]) == sorted(places, key=lambda name: levels[name]["bytes"])
    best_first = sorted(places, key=lambda name: -up * levels[name]["metrics"][key])
    assert sorted(places, key=lambda name: places[name][1]) == best_first


def test_a_level_can_be_chosen_in_the_plot(open_page: Open, zoo: str) -> None:
    """By mouse and by keyboard."""
    page = open_page(zoo)
    option(page, "Across", "size").check()
    page.get_by_role("button", name=re.compile("^x4:")).click()
    expect(page.locator("#facts")).to_contain_text("Level x4")
    expect(option(page, "Level", "x4")).to_be_checked()
    page.get_by_role("button", name=re.compile("^p95:")).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#facts")).to_contain_text("Level p95")
    chosen = page.get_by_role("button", name=re.compile("^p95:"))
    expect(chosen).to_have_attribute("aria-pressed", "true")
    expect(chosen).to_be_focused()


def test_advice(open_page: Open, zoo: str) -> None:
    """Of the levels that are accurate enough the fastest, of those that are alike the smallest; and the others."""
    page = open_page(zoo)

    def level(name: str, accuracy: float, milliseconds: float, size: int) -> dict[str, Any]:
        return {"name": name, "metrics": {"accuracy": accuracy}, "milliseconds": milliseconds, "bytes": size}

    levels = [
        level("a", 0.9, 10, 900),
        level("b", 0.895, 10.4, 500),
        level("c", 0.88, 4, 400),
        level("d", 0.8, 4.1, 100),
    ]

    def advised(loss: float) -> list[str]:
        found: list[str] = page.evaluate(ADVISE, [levels, loss, "milliseconds"])
        return found

    assert advised(0)[0] == "a"
    name, words = advised(0.01)
    assert name == "b"
    assert "as fast as a, the most accurate level, and 44% smaller:" in words
    assert "it gets 89.5% of the test pictures right, a 90.0%." in words
    assert "c is 2.6 times faster than b, but gets 88.0% right" in words
    assert "d takes 100 B instead of 500 B, but gets 80.0% right" in words
    assert advised(0.02)[0] == "c"
    assert "2.5 times faster than a" in advised(0.02)[1]
    assert advised(0.2)[0] == "d"


def test_the_table_can_be_sorted(open_page: Open, zoo: str) -> None:
    """By each column, both ways, and says how it is sorted."""
    page = open_page(zoo)
    names = page.locator("#table tbody th")
    levels = listed(zoo)
    expect(names).to_have_count(5)
    for head, key in (("Size", "bytes"), ("Multiply-adds", "multiply_adds"), ("Accuracy", "accuracy")):
        button = page.locator("#table thead").get_by_role("button", name=head)
        for direction in ("descending", "ascending"):
            button.click()
            expect(page.locator("#table th", has=page.get_by_role("button", name=head))).to_have_attribute(
                "aria-sort", direction
            )
            value = {level["name"]: (level | level["metrics"])[key] for level in levels}
            shown = [value[name] for name in names.all_inner_texts()]
            assert shown == sorted(value.values(), reverse=direction == "descending")
    expect(page.locator("#table th[aria-sort]")).to_have_count(1)


def test_the_table_compares_draws_with_their_mean(open_page: Open, zoo: str) -> None:
    """Where they gain and where they do not; what an older manifest lacks is unknown."""
    mean = {"temperature": 1.1, "accuracy": 0.9, "nll": 0.31, "ece": 0.01, "nll_gain": 0.0064, "nll_gain_error": 0.001}

    def prepare(page: Page, _: Watch) -> None:
        def fulfill(route: Route) -> None:
            document = route.fetch().json()
            gains, nothing, *_ = document["models"][0]["versions"][0]["levels"]
            gains |= {"mean_network": mean, "coverage": {"lac": {"0.1": 0.8987}}}
            gains["metrics"]["abstained"] = 0.0512
            nothing["mean_network"] = mean | {"nll_gain": 0.0004}
            route.fulfill(json=document)

        page.route("**/models", fulfill)

    page = open_page(zoo, prepare=prepare)
    gains, nothing, unknown, *_ = page.locator("#table tbody tr").all()
    expect(gains).to_contain_text("0.310")
    expect(gains).to_contain_text("0.0064 ± 0.0010")
    expect(gains).to_contain_text("5.1%")
    expect(gains).to_contain_text("89.9% (α = 0.1)")
    expect(gains).not_to_contain_text("nothing")
    expect(nothing).to_contain_text("0.0004 ± 0.0010: nothing")
    expect(unknown.get_by_text("unknown", exact=True)).to_have_count(4)


def test_load_and_drift_are_live(open_page: Open, zoo: str) -> None:
    """In figures and in words."""
    page = open_page(zoo, prepare=with_status)
    live = page.locator("#live")
    expect(live).to_contain_text("512 of 65,536")
    expect(live).to_contain_text("41.3")
    expect(live).to_contain_text("step 2 of 4")
    expect(live.locator("meter")).to_have_js_property("value", 512)
    rows = live.get_by_role("region", name="Drift").locator("tbody tr")
    expect(rows.first).to_contain_text("20%steady 0.04some 0.20strong 0.31")
    expect(rows.last).to_contain_text("none yettoo few answers")
    labelled = live.get_by_role("region", name="Quality by labels").locator("tbody tr")
    expect(labelled).to_have_count(1)
    expect(labelled).to_contain_text("40090.0% (86.7% to 92.6%)too few labels3.1% (0.0% to 6.2%)")
    expect(labelled).to_contain_text("too few 80.0% (75.8% to 83.6%) of 90%")
    expect(page.get_by_role("link", name="Live")).to_be_visible()


def test_without_a_status_there_is_no_panel(open_page: Open, zoo: str) -> None:
    """A service that has no GET /status answers 404, and is asked once."""
    asked = []

    def prepare(page: Page, watch: Watch) -> None:
        watch.expect(r"/status$")
        page.route(
            "**/status", lambda route: (asked.append(1), route.fulfill(status=404, json={"detail": "Not Found"}))
        )

    page = open_page(zoo, prepare=prepare)
    page.wait_for_timeout(2500)
    expect(page.locator("#live")).to_be_hidden()
    expect(page.get_by_role("link", name="Live")).to_be_hidden()
    assert asked == [1]
