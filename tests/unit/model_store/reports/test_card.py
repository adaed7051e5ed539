"""The card: what the manifest says, all of it that matters, and nothing that it does not say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from model_store.cli.main import app
from model_store.manifest import SCHEMA_VERSION, Manifest, read_manifest
from model_store.reports.card import model_card
from model_store.small_samples import interval_text
from model_store.storage.location import ZOO
from model_store.store import Store
from tests.support.stores import GOLDEN, golden_document

Document = dict[str, Any]


def card(change: Callable[[Document], object] = lambda _: None) -> str:
    """The card of the golden manifest with a change."""
    document = golden_document()
    change(document)
    return model_card(Manifest.model_validate(document))


def sections(text: str) -> dict[str, str]:
    """The text below each heading."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ]


def test_every_level_with_its_figures() -> None:
    """Each where its column says."""
    head, _, *levels = rows(sections(card())["Levels"])
    for row, level in zip(levels, golden_document()["levels"], strict=True):
        found, metrics = dict(zip(head, row, strict=True)), level["metrics"]
        assert found["level"] == level["name"]
        assert found["accuracy"] == f"{metrics['accuracy']:.2%}"
        assert found["95 % interval"] == interval_text(metrics["accuracy"], 10_000)
        assert found["sparsity"] == f"{level['sparsity']:.1%}"
        assert float(found["kB"].replace(",", "")) == pytest.approx(level["bytes"] / 1000, abs=0.05)
        for name in ("NLL", "Brier", "ECE", "AURC"):
            assert float(found[name]) == pytest.approx(metrics[name.lower()], abs=5e-5)
        assert int(found["draws"]) == level["monte_carlo"]["draws"]
    assert "`p80` are of convolutions in eight bits" in sections(card())["Levels"]


def test_how_it_decides() -> None:
    """Thresholds and quantiles, the largest error rate first; AUROC of every set that there is."""
    text = sections(card())
    head, _, *levels = rows(text["Calibration and decisions"])
    assert head[-3:] == ["quantile, α = 0.1", "quantile, α = 0.05", "quantile, α = 0.01"]
    for row, level in zip(levels, golden_document()["levels"], strict=True):
        found, calibration = dict(zip(head, row, strict=True)), level["calibration"]
        assert float(found["abstains above, nats"]) == pytest.approx(calibration["abstain_above"], abs=5e-5)
        assert float(found["quantile, α = 0.05"]) == pytest.approx(calibration["conformal_quantiles"]["0.05"], abs=5e-5)
        assert found["out of distribution above"].startswith(calibration["out_of_distribution"]["score"].split("_")[0])
    strangers = rows(text["Out of distribution"])
    assert strangers[0] == ["level", "cifar100", "svhn"]
    assert strangers[2][1:] == ["0.8812", "0.9307"]


def test_draws_stand_beside_their_mean() -> None:
    """In words where they add nothing, and where one pass of the mean is served."""
    found = sections(card())["Draws and their mean"]
    head, _, dense, p80 = rows(found)
    assert dict(zip(head, dense, strict=True))["draws gain"] == "0.0064 ± 0.0011"
    assert dict(zip(head, p80, strict=True))["NLL"] == "0.2817"
    assert "**Draws add nothing at `p80`**" in found
    assert "one pass of the mean network, so" not in found

    def single(document: Document) -> None:
        document["levels"][1]["monte_carlo"] = {"draws": 1, "standard_error": 0.0}

    assert "Served at `p80` is one pass of the mean network" in sections(card(single))["Draws and their mean"]


def test_measured_shares() -> None:
    """Coverage beside what was promised, the default error rate, and the share that the thresholds reject."""
    text = sections(card())
    head, _, dense, _ = rows(text["Coverage of prediction sets"])
    found = dict(zip(head, dense, strict=True))
    assert (found["thresholded, α = 0.1"], found["adaptive, α = 0.01"]) == ("89.96%", "98.95%")
    assert "default is α = 0.1." in text["Calibration and decisions"]
    head, _, dense, _ = rows(text["Calibration and decisions"])
    assert dict(zip(head, dense, strict=True))["test images abstained on"] == "5.12%"


def test_few_images_say_what_they_are_too_few_for() -> None:
    """And where they are tested on what the others say, that they are."""

    def few(document: Document) -> None:
        for level in document["levels"]:
            level["metrics"]["test_images"] = 12
            level["calibration"] |= {"images": 12, "folds": 10, "conformal_quantiles": {"0.1": 0.9}}

    text = sections(card(few))
    assert "the test set of 12 images" in text["Levels"]
    decisions = text["Calibration and decisions"]
    assert "on the 12 test images, which no network was trained on" in decisions
    assert "each of 10 parts of them was tested with what the others alone say" in decisions
    assert "too few for prediction sets at α = 0.05, which take 19 and α = 0.01, which take 99." in decisions
    assert "set on 5,000 calibration images, which are neither" in sections(card())["Calibration and decisions"]


@pytest.mark.parametrize(("left", "said"), [(0.205, True), (0.0087, False), (None, False)])
def test_scales_that_were_not_learned_are_a_limit(left: float | None, said: bool) -> None:
    text = card(lambda document: document["training"].update(hessian_left=left))
    assert ("of IVON's initial Hessian is left" in sections(text)["Limits"]) == said


def test_the_zoo_s_card_says_what_its_mutual_information_is_worth() -> None:
    """Only its last layers are random, at all levels but one."""
    store = Store.open(ZOO)
    limits = sections(model_card(store.manifest("cifar10-resnet20", store.resolve("cifar10-resnet20"))))["Limits"]
    assert "Only the last layers of some levels are random" in limits
    assert "0.0084 at `p80`" in limits
    assert "0.0354 at `dense`, random throughout" in limits


def test_what_is_not_known_is_not_made_up() -> None:
    """No heading without a text, whatever is missing, and the limits say so."""

    def nothing(document: Document) -> None:
        for level in document["levels"]:
            level["metrics"]["ood_auroc"] = {}
            level["calibration"] |= {"out_of_distribution": None, "conformal_quantiles": {}}
            level["roundings"] = {}
            level["granularity"] = "none"
        document["training"]["hyperparameters"] = {}

    text = card(nothing)
    found = sections(text)
    assert "Out of distribution" not in found
    assert "hyperparameter" not in found["Training"]
    assert "Pruned from it" not in text
    assert "eight bits" not in text
    assert "was not compared with images of any other kind" in found["Limits"]
    assert "No OOD score was chosen" in found["Limits"]
    assert all(len(body.strip()) > 80 for body in found.values())
    assert not re.search(r"None|nan|\{|\}", text)


def test_older_schemas_have_cards() -> None:
    """That say so."""
    for schema in range(1, SCHEMA_VERSION + 1):
        text = model_card(read_manifest(GOLDEN.with_name(f"manifest-v{schema}.json").read_bytes()))
        assert (f"Its manifest is of schema {schema}" in text) == (schema < SCHEMA_VERSION)
        assert list(sections(text))[-2:] == ["Limits", "Use"]


def test_words_of_a_manifest_are_no_markdown() -> None:
    """Nor HTML; a table keeps its columns and a list its lines."""

    def hostile(document: Document) -> None:
        document["classes"] = ["<script>alert(1)</script>", "a|b", "# c\n\n# d", "[x](http://evil)", "`e`", "~~~"]
        document["training"]["dataset"] = "*x*\n\n## Endorsed"
        document["training"]["hyperparameters"] = {"a|b": "<b>", "pruning": {"p80": 7}}
        document["levels"][0]["metrics"]["ood_auroc"] = {"a|b\n": 0.5}

    text = card(hostile)
    assert list(sections(text)) == list(sections(card()))
    assert not re.search(r"(?<!\\)[<>]|(?<!\\)\[x|^# d|^~~~", text, re.MULTILINE)
    for table in (sections(text)["Training"], sections(text)["Out of distribution"]):
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_many_classes_are_counted() -> None:
    text = card(lambda document: document.update(classes=[f"class {n}" for n in range(1000)]))
    assert "class 19, and 980 more" in text
    assert len(text) < 10_000


def test_a_level_without_randomness_says_so() -> None:
    text = card(lambda document: document["levels"][0].update(shared=["logits"]))
    assert "`dense` has no random weight" in text


def test_the_command() -> None:
    """Prints it, alone or in JSON."""
    store = Store.open(ZOO)
    version = store.resolve("cifar10-resnet20")
    expected = model_card(store.manifest("cifar10-resnet20", version))
    arguments = ["card", "cifar10-resnet20", "--store", str(ZOO)]
    assert CliRunner().invoke(app, arguments).stdout == expected
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert found == {"model": "cifar10-resnet20", "version": version, "card": expected}
    missing = CliRunner().invoke(app, ["card", "cats", "--store", str(ZOO)])
    assert (missing.exit_code, "no model 'cats'" in missing.output) == (1, True)
