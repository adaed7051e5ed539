"""A service without a store answers photographs from the zoo."""

from __future__ import annotations

import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import httpx
from fastapi.testclient import TestClient
from PIL import Image
from sklearn.datasets import load_sample_images

from model_store.storage.location import ZOO
from service.app import create_app
from service.settings import Settings
from tests.support.http import ask
from tests.support.images import png
from tests.support.services import wait_until
from tests.support.waiting import HANG_S


def test_serve_without_a_store(tmp_path: Path) -> None:
    """It says that it serves the zoo, compares its levels, and answers real photographs of any size."""
    command = [sys.executable, "-m", "service", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert process.stdout is not None
        assert "serving the zoo" in process.stdout.readline()
        found = re.search(r"http://[\d.]+:\d+", process.stdout.readline())
        assert found
        url = found.group()
        wait_until(lambda: httpx.get(f"{url}/readyz", timeout=HANG_S).status_code == 200)
        (model,) = httpx.get(f"{url}/models").json()["models"]
        assert model["name"] == "cifar10-resnet20"
        levels = {level["name"]: level for level in model["versions"][0]["levels"]}
        assert len(levels) >= 4
        for photograph in load_sample_images().images:
            buffer = BytesIO()
            Image.fromarray(photograph).save(buffer, "JPEG")
            for level in levels:
                answer = httpx.post(
                    f"{url}/predict",
                    params={"level": level},
                    content=buffer.getvalue(),
                    headers={"content-type": "image/jpeg"},
                    timeout=HANG_S,
                ).json()
                (prediction,) = answer["predictions"]
                assert len(prediction["probabilities"]) == 10
                assert 4 <= prediction["monte_carlo"]["draws"] <= 32
    finally:
        process.kill()
        process.communicate()


def test_eight_bits_and_float32() -> None:
    """The default level is computed in eight bits, or in float32 where the operator wants it: nearly the same."""
    photograph, found = png(load_sample_images().images[0]), {}
    for precision in ("published", "float32"):
        with TestClient(create_app(Settings(store=ZOO, precision=precision))) as client:
            wait_until(lambda client=client: client.get("/readyz").status_code == 200)
            answer = ask(client, photograph, samples=32)
            found[precision] = {
                each["label"]: each["probability"] for each in answer["predictions"][0]["probabilities"]
            }
            levels = client.get("/models").json()["models"][0]["versions"][0]["levels"]
            (arrangement,) = [level["arrangement"] for level in levels if level["name"] == answer["level"]]
            assert arrangement["eight_bits"] == (precision == "published")
    moved = [abs(found["published"][label] - found["float32"][label]) for label in found["float32"]]
    assert 0 < max(moved) < 0.05
