"""The container image: what is in it, and that it serves as operators run it: read-only, unprivileged, limited."""

import io
import json
import math
import re
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.image_engine import Engine, missing_requirement, open_engine

pytestmark = [pytest.mark.image, pytest.mark.slow]

PROJECT = Path(__file__).resolve().parent.parent
IMAGE = "localhost/slimbayes:test"
CONTAINER = "slimbayes-test"
MEMORY_LIMIT = "512m"
# Longer than the service takes to drain; past it podman kills, and the exit status is 137.
STOP_SECONDS = 30
READY_SECONDS = 60


@dataclass(frozen=True)
class RunningService:
    """A container that answers at `url`, and the engine that runs it."""

    engine: Engine
    url: str

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10, trust_env=False)

    def post(self, path: str, body: bytes, content_type: str) -> httpx.Response:
        headers = {"Content-Type": content_type}
        return httpx.post(self.url + path, content=body, headers=headers, timeout=30, trust_env=False)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.get("/readyz").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            if not self.engine.inspect("container", CONTAINER)["State"]["Running"]:
                break
            time.sleep(0.1)
        pytest.fail(f"the service was never ready; it printed:\n{self.engine.logs(CONTAINER)}")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if reason := missing_requirement():
        pytest.skip(reason)
    with open_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    engine.build(PROJECT, IMAGE)
    return IMAGE


@pytest.fixture(scope="module")
def installed(engine: Engine, image: str) -> dict[str, str]:
    """Every distribution in the image, and its version."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    return {_normal_name(name): version for name, version in json.loads(_run_python(engine, image, code)).items()}


@pytest.fixture
def service(engine: Engine, image: str, digits_store: Path, tmp_path: Path) -> Iterator[RunningService]:
    store = _readable_copy(digits_store, tmp_path)
    port = _free_port()
    engine.podman(
        *("run", "--detach", "--name", CONTAINER, "--pull", "never"),
        *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--memory", MEMORY_LIMIT, "--cpus", "1"),
        *("--env", "SLIMBAYES_HOST=127.0.0.1", "--env", f"SLIMBAYES_PORT={port}"),
        *("--volume", f"{store}:/store:ro", image),
    )
    try:
        running = RunningService(engine, f"http://127.0.0.1:{port}")
        running.wait_until_ready()
        yield running
    finally:
        engine.remove_containers()


def test_the_image_holds_no_torch_and_no_pip(installed: dict[str, str]) -> None:
    assert {"slimbayes", "onnxruntime", "fastapi"} <= installed.keys()
    assert not {"torch", "torchvision", "scikit-learn", "pip", "setuptools", "hatchling", "pytest"} & installed.keys()


def test_every_dependency_is_the_pinned_one(installed: dict[str, str]) -> None:
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    pinned = {_normal_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    dependencies = {name: version for name, version in installed.items() if name != "slimbayes"}
    assert dependencies == {name: pinned.get(name, "no pin") for name in dependencies}


def test_our_packages_are_byte_compiled(engine: Engine, image: str) -> None:
    code = (
        "import importlib.util as u, os, json;"
        "names = ['service', 'model_store', 'onnxruntime', 'fastapi', 'asyncio'];"
        "print(json.dumps([n for n in names if not os.path.exists(u.find_spec(n).cached)]))"
    )
    assert json.loads(_run_python(engine, image, code)) == []


def test_the_image_says_how_it_is_run(engine: Engine, image: str) -> None:
    settings = engine.inspect("image", image)
    config = settings["Config"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config.get("User", "")), "numeric, so that an orchestrator can check it"
    assert config["Volumes"] == {"/store": {}}
    assert config["ExposedPorts"] == {"8000/tcp": {}}
    assert config["Entrypoint"] == ["slimbayes"]
    assert config["Cmd"] == ["serve"]
    assert {"SLIMBAYES_STORE=/store", "SLIMBAYES_HOST=0.0.0.0", "SLIMBAYES_PORT=8000"} <= set(config["Env"])
    assert "ORT_DISABLE_TELEMETRY=1" in config["Env"]
    assert config["Labels"]["org.opencontainers.image.title"] == "slimbayes"
    assert "/livez" in " ".join(settings.get("Healthcheck", {}).get("Test", []))


def test_a_locked_down_container_serves_and_stops_cleanly(service: RunningService, engine: Engine) -> None:
    answer = service.post("/predict", _digit_png(), "image/png")
    assert answer.status_code == httpx.codes.OK, answer.text
    _check_answer(answer.json())

    models = service.get("/models")
    assert models.status_code == httpx.codes.OK
    assert [model["name"] for model in models.json()["models"]] == ["digits"]
    (version,) = models.json()["models"][0]["versions"]
    assert version["ready"]
    assert {level["name"] for level in version["levels"]} == {"dense", "p50", "p90"}

    engine.podman("healthcheck", "run", CONTAINER)

    started = time.monotonic()
    engine.podman("stop", "--time", str(STOP_SECONDS), CONTAINER, timeout=STOP_SECONDS + 30)
    stopped_after = time.monotonic() - started
    state = engine.inspect("container", CONTAINER)["State"]
    assert state["ExitCode"] == 0, engine.logs(CONTAINER)
    assert not state["OOMKilled"]
    assert stopped_after < STOP_SECONDS


def _check_answer(answer: dict[str, Any]) -> None:
    assert answer["model"] == "digits"
    (prediction,) = answer["predictions"]
    shares = {entry["label"]: entry["probability"] for entry in prediction["probabilities"]}
    assert prediction["label"] == "0"
    assert prediction["probability"] == shares["0"] == max(shares.values())
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-4)
    uncertainty = prediction["uncertainty"]
    assert 0.0 <= uncertainty["total"] <= math.log(10) + 1e-4
    assert uncertainty["total"] == pytest.approx(uncertainty["aleatoric"] + uncertainty["epistemic"], abs=1e-4)
    assert prediction["decision"] in {"accept", "abstain"}
    assert prediction["monte_carlo"]["draws"] >= 1


def _digit_png() -> bytes:
    """The first picture of the digits data set, a zero, as a PNG of 8 x 8 grey pixels."""
    pixels = (load_digits().images[0] * (255 / 16)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _readable_copy(store: Path, folder: Path) -> Path:
    """The store with its own file modes; only its root, a private folder of pytest's, is opened to the image's user."""
    copy = Path(shutil.copytree(store, folder / "store"))
    copy.chmod(0o755)
    return copy


def _run_python(engine: Engine, image: str, code: str) -> str:
    options = ("run", "--rm", "--pull", "never", "--read-only", "--no-healthcheck", "--cap-drop", "ALL")
    return engine.podman(*options, "--entrypoint", "python", image, "-c", code)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _normal_name(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
