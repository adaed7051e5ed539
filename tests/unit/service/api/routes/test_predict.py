"""`POST /predict`: its three forms, what it answers, and what it refuses."""

from __future__ import annotations

from base64 import b64encode
from math import log

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.api.schemas import Answer
from tests.support.http import PNG, ask, refusal
from tests.support.images import image_bomb, png


def test_three_forms_one_answer(client: TestClient, example: bytes) -> None:
    """Multipart, raw and JSON bodies give the same answer."""
    raw = ask(client, example)["predictions"]
    multipart = client.post("/predict", files=[("images", ("a.png", example))])
    as_json = client.post("/predict", json={"images": [b64encode(example).decode()]})
    assert multipart.json()["predictions"] == raw
    assert as_json.json()["predictions"] == raw


@pytest.mark.parametrize("level", ["dense", "p50", "p90"])
def test_answer_is_consistent(client: TestClient, example: bytes, level: str) -> None:
    """Probabilities sum to one and are sorted; total = aleatoric + epistemic; intervals hold what they should."""
    noise = png(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8))
    for picture in (example, noise):
        prediction = ask(client, picture, level=level)["predictions"][0]
        classes = prediction["probabilities"]
        values = [one["probability"] for one in classes]
        assert sum(values) == pytest.approx(1, abs=1e-9)
        assert values == sorted(values, reverse=True)
        assert (prediction["label"], prediction["probability"]) == (classes[0]["label"], values[0])
        few = prediction["monte_carlo"]["draws"] < 20
        assert all((one["low"], one["high"]) == (None, None) for one in classes if few)
        assert all(0 <= one["low"] <= one["high"] <= 1 for one in classes if not few)
        assert all(one["std"] >= 0 for one in classes)
        uncertainty = prediction["uncertainty"]
        assert uncertainty["total"] == pytest.approx(uncertainty["aleatoric"] + uncertainty["epistemic"], abs=1e-12)
        assert uncertainty["epistemic"] >= 0
        assert uncertainty["aleatoric"] >= 0
        assert uncertainty["total"] == pytest.approx(-sum(p * log(p) for p in values if p > 0), abs=1e-9)
        assert prediction["label"] in prediction["prediction_set"]
        strange = prediction["ood"]
        reasons = {None} if prediction["decision"] == "accept" else {"uncertain", "out_of_distribution"}
        assert prediction["reason"] in reasons
        assert (prediction["reason"] == "out_of_distribution") <= (strange["value"] > strange["threshold"])


def test_parameters_change_the_answer(client: TestClient, example: bytes) -> None:
    """Level, samples, alpha and top_k do what they say."""
    assert ask(client, example, level="p50")["level"] == "p50"
    assert ask(client, example, samples=7)["predictions"][0]["monte_carlo"]["draws"] == 7
    assert ask(client, example, samples=1)["predictions"][0]["monte_carlo"]["standard_error"] is None
    assert len(ask(client, example, top_k=2)["predictions"][0]["probabilities"]) == 2
    noise = png(np.random.default_rng(3).integers(0, 256, (8, 8), dtype=np.uint8))
    sets = [set(ask(client, noise, alpha=alpha)["predictions"][0]["prediction_set"]) for alpha in (0.1, 0.05, 0.01)]
    assert sets[0] <= sets[1] <= sets[2]


@pytest.mark.parametrize("samples", [1, 19, 20])
def test_an_interval_takes_twenty_draws(client: TestClient, example: bytes, samples: int) -> None:
    """From fewer there is none, in JSON as in what the typed client makes of it."""
    document = ask(client, example, samples=samples)
    shown = document["predictions"][0]["probabilities"]
    assert {one[end] is None for one in shown for end in ("low", "high")} == {samples < 20}
    read = Answer.model_validate(document).predictions[0].probabilities
    assert [(one.low, one.high) for one in read] == [(one["low"], one["high"]) for one in shown]


def test_spread_of_the_first_draws(client: TestClient) -> None:
    """Where draws decide on their number, standard deviation and mutual information are those of four."""
    for seed in range(20):
        noise = png(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8))
        (auto,), (four,) = (ask(client, noise, samples=samples)["predictions"] for samples in ("auto", 4))
        if auto["monte_carlo"]["draws"] > 4:
            break
    else:
        pytest.fail("four draws were enough for every picture of noise")
    stds = [{one["label"]: one["std"] for one in each["probabilities"]} for each in (auto, four)]
    assert stds[0] == pytest.approx(stds[1], abs=1e-9)
    between = [each["uncertainty"]["epistemic"] for each in (auto, four)]
    assert between[0] == pytest.approx(min(between[1], auto["uncertainty"]["total"]), abs=1e-9)


def test_draws_are_listed_when_asked_for(client: TestClient, example: bytes) -> None:
    """As many as there were, with the mean that is answered; no answer has them otherwise."""
    (plain,) = ask(client, example, samples=8, top_k=3)["predictions"]
    (full,) = ask(client, example, samples=8, top_k=3, draws=True)["predictions"]
    assert len(full["probabilities"]) == 3
    for one in full["probabilities"]:
        draws = one.pop("draws")
        assert len(draws) == 8
        assert np.mean(draws) == pytest.approx(one["probability"], abs=1e-4)
        assert np.std(draws, ddof=1) == pytest.approx(one["std"], abs=1e-4)
    assert full == plain


def test_the_same_twice(client: TestClient, example: bytes) -> None:
    """The same image gets the same answer, alone or among others."""
    first, again = ask(client, example)["predictions"], ask(client, example)["predictions"]
    assert first == again
    noise = png(np.zeros((8, 8), np.uint8))
    files = [("images", ("a", noise)), ("images", ("b", example)), ("images", ("c", noise))]
    among = client.post("/predict", files=files).json()["predictions"][1]
    assert among["probability"] == pytest.approx(first[0]["probability"], abs=1e-5)


def test_text_named_png(client: TestClient) -> None:
    detail = refusal(client.post("/predict", files=[("images", ("cat.png", b"I am a cat", "image/png"))]), 415)
    assert "PNG, JPEG" in detail


def test_truncated_png(client: TestClient) -> None:
    whole = png(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    for size in (len(whole) // 2, len(whole) - 200):
        assert "cannot be decoded" in refusal(client.post("/predict", content=whole[:size], headers=PNG), 422)


def test_empty_picture(client: TestClient) -> None:
    assert "is empty" in refusal(client.post("/predict", files=[("images", ("a.png", b""))]), 422)


def test_image_bomb_is_refused_before_decoding(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 30,000 x 30,000 PNG of about 100 kB."""
    from PIL import ImageFile

    def never(self: object) -> None:
        raise AssertionError("the bomb was decoded")

    bomb = image_bomb(30_000)
    assert len(bomb) < 150_000
    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    assert "30000 x 30000 pixels" in refusal(client.post("/predict", content=bomb, headers=PNG), 413)


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ({"model": "cats"}, 404, "there is digits"),
        ({"version": "20200101-000000-abcdef"}, 404, "no version or alias"),
        ({"version": "staging"}, 404, "no version or alias"),
        ({"level": "p99"}, 404, "dense, p50, p90"),
        ({"samples": "0"}, 422, "from 1 to 256"),
        ({"samples": "1e9"}, 422, "from 1 to 256"),
        ({"samples": "1000000000"}, 422, "from 1 to 256"),
        ({"samples": "abc"}, 422, "from 1 to 256"),
        ({"samples": "-1"}, 422, "from 1 to 256"),
        ({"samples": "0000000001300"}, 422, "from 1 to 256"),
        ({"samples": "0" * 9 + "1" + "0" * 5000}, 422, "from 1 to 256"),
        ({"samples": "\uff19"}, 422, "from 1 to 256"),
        ({"alpha": "0.2"}, 422, "0.1, 0.05, 0.01"),
        ({"alpha": "nan"}, 422, "alpha"),
        ({"top_k": "0"}, 422, "top_k"),
        ({"sampels": "3"}, 422, "sampels"),
    ],
)
def test_bad_parameters(client: TestClient, example: bytes, query: dict[str, str], status: int, says: str) -> None:
    assert says in refusal(client.post("/predict", params=query, content=example, headers=PNG), status)


def test_other_methods_and_paths(client: TestClient) -> None:
    assert refusal(client.get("/predict"), 405)
    assert refusal(client.get("/nothing"), 404)
