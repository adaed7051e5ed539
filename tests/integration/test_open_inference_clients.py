"""Other projects' clients of the Open Inference Protocol, unchanged, against a service in a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from model_store.manifest import Manifest
from model_store.store import Store
from tests.support.images import png
from tests.support.project import PROJECT
from tests.support.requirements import interpreter
from tests.support.services import running_service
from tests.support.waiting import HANG_S

pytestmark = pytest.mark.system
SCRIPTS = PROJECT / "tests" / "support" / "clients"
Outputs = dict[str, list[list[float]]]


@pytest.fixture(scope="module")
def url(digits_store: Path) -> Iterator[str]:
    """Of a service of the digits."""
    with running_service(digits_store) as (url, _):
        yield url


@pytest.fixture(scope="module")
def manifest(digits_store: Path) -> Manifest:
    """Of the only version."""
    store = Store.open(digits_store)
    return store.manifest("digits", store.resolve("digits"))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Three, in the model's size."""
    return np.random.default_rng(5).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def predicted(url: str, manifest: Manifest, images: np.ndarray) -> Outputs:
    """What `POST /predict` answers to the same images under as many draws."""
    files = [("images", (f"{number}.png", png(image[:, :, 0]))) for number, image in enumerate(images)]
    answer = httpx.post(f"{url}/predict", params={"samples": 16}, files=files, timeout=HANG_S).json()
    outputs: Outputs = {"probabilities": [], "std": [], "uncertainty": []}
    for prediction in answer["predictions"]:
        found = {each["label"]: each for each in prediction["probabilities"]}
        for name, key in (("probabilities", "probability"), ("std", "std")):
            outputs[name].append([found[label][key] for label in manifest.classes])
        outputs["uncertainty"].append([prediction["uncertainty"][part] for part in ("total", "aleatoric", "epistemic")])
    return outputs


def said(script: str, url: str, images: np.ndarray, folder: Path) -> dict[str, Any]:
    """What a client made of the service."""
    python = interpreter(PROJECT / ".venv-clients")
    np.save(folder / "images.npy", images)
    command = [python, str(SCRIPTS / script), url, "digits", str(folder / "images.npy")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def check_metadata(found: dict[str, Any], manifest: Manifest) -> None:
    """The server's and the model's, whether a version is named or not."""
    assert found["server"]["name"] == "slimbayes"
    assert "binary_tensor_data" in found["server"]["extensions"]
    one, other = found["metadata"]
    assert one == other
    assert (one["name"], one["versions"]) == ("digits", [manifest.version])
    assert one["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}]
    assert {output["name"]: output["shape"] for output in one["outputs"]} == {
        "probabilities": [-1, 10],
        "std": [-1, 10],
        "uncertainty": [-1, 3],
        "draws": [-1, -1, 10],
    }
    assert json.loads(one["properties"]["classes"]) == list(manifest.classes)


def check_refusal(found: dict[str, Any]) -> None:
    """A wrong shape, which the client must be able to read about."""
    status, message = found["refusal"]
    assert status == "400"
    assert "expected [N, 8, 8, 1]" in message


def test_tritonclient(url: str, manifest: Manifest, images: np.ndarray, predicted: Outputs, tmp_path: Path) -> None:
    """Binary by default, JSON, both in one answer, compressed, hinted: the numbers of `/predict` to the last bit."""
    found = said("ask_triton.py", url, images, tmp_path)
    assert found["live"] is found["ready"] is True
    assert (found["model_ready"], found["other_ready"]) == ([True, True], [False, False])
    assert found["index"] == [{"name": "digits", "version": manifest.version, "state": "READY", "reason": ""}]
    check_metadata(found, manifest)
    check_refusal(found)
    answers = found["answers"]
    hinted = {"with a time", "with a priority", "of a sequence", "of a named sequence", "through a gateway"}
    assert set(answers) == {"by default", "of a version", "all JSON", "mixed", "gzip", "deflate"} | hinted
    for says, message in zip(["classification is", "'sampels'", "belongs in"], found["unsupported"], strict=True):
        assert says in message
    for name in ("gzip", "deflate"):
        np.testing.assert_allclose(answers[name].pop("draws"), predicted["probabilities"], atol=1e-6)
    for answer in answers.values():
        assert answer == predicted


def test_kserve(url: str, images: np.ndarray, predicted: Outputs, tmp_path: Path) -> None:
    """JSON and binary."""
    found = said("ask_kserve.py", url, images, tmp_path)
    assert found["live"] is found["ready"] is True
    assert (found["model_ready"], found["other_ready"]) == ([True], [False])
    check_refusal(found)
    assert found["answers"] == {"all JSON": predicted, "binary": predicted}


def test_open_inference(url: str, manifest: Manifest, images: np.ndarray, predicted: Outputs, tmp_path: Path) -> None:
    """Numbers as floats, nested and in one list; every part of the protocol that the client knows."""
    found = said("ask_open_inference.py", url, images, tmp_path)
    check_metadata(found, manifest)
    check_refusal(found)
    assert "there is digits" in found["other"]["error"]
    assert found["answers"] == {"nested": predicted, "of a version": predicted}
