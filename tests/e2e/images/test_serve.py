"""The image that serves: what is in it, and that it serves as operators run it."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.support.containers import IMAGES, STOP_SECONDS, serving
from tests.support.image_engine import BASE_IMAGE, Engine
from tests.support.load import Load, Request
from tests.support.photographs import encoded, largest, photograph, together
from tests.support.project import PROJECT

pytestmark = [pytest.mark.system, pytest.mark.slow]

MOST_BYTES = 350_000_000
MOST_SECONDS = 3.0
REBUILT = "localhost/slimbayes:rebuilt"
# Files and folders that others than their owner may write to, and programs that give their owner's rights.
FAULTS = ["/", "-xdev", "(", "-perm", "-o+w", "!", "-type", "l", "-o", "-type", "f", "-perm", "/6000", ")", "-print"]


@pytest.fixture(scope="module")
def installed(engine: Engine, image: str) -> dict[str, str]:
    """Every distribution in the image, and its version."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    return {_normal_name(name): version for name, version in json.loads(_run_python(engine, image, code)).items()}


def test_the_image_holds_no_torch_and_no_pip(installed: dict[str, str]) -> None:
    assert {"slimbayes", "onnxruntime", "fastapi", "opentelemetry-sdk"} <= installed.keys()
    assert not {"torch", "torchvision", "scikit-learn", "pip", "setuptools", "hatchling", "pytest"} & installed.keys()


def test_every_dependency_is_the_pinned_one(installed: dict[str, str]) -> None:
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    pinned = {_normal_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    dependencies = {name: version for name, version in installed.items() if name != "slimbayes"}
    assert dependencies == {name: pinned.get(name, "no pin") for name in dependencies}


def test_the_bills_say_what_is_in_it(engine: Engine, image: str, installed: dict[str, str]) -> None:
    """Both that in the image and that beside it, of Python's packages and of Debian's."""
    beside = PROJECT / "dist" / "bills" / "serve"
    for name in ("python.cdx.json", "debian.cdx.json"):
        code = f"print(open('/usr/share/sbom/{name}').read())"
        assert json.loads(_run_python(engine, image, code)) == json.loads((beside / name).read_text())
    bill = json.loads((beside / "python.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    listed = {_normal_name(each["name"]): each["version"] for each in bill["components"]}
    assert listed | {"slimbayes": installed["slimbayes"]} == installed
    debian = json.loads((beside / "debian.cdx.json").read_text())
    assert {"libc6", "python3"} <= {each["name"] for each in debian["components"]}


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
    assert config["ExposedPorts"] == {"8000/tcp": {}}
    assert config["Entrypoint"] == ["slimbayes"]
    assert config["Cmd"] == ["serve"]
    assert {
        "SLIMBAYES_HOST=0.0.0.0",
        "SLIMBAYES_PORT=8000",
        "ORT_DISABLE_TELEMETRY=1",
    } <= set(config["Env"])
    assert "/livez" in " ".join(settings.get("Healthcheck", {}).get("Test", []))
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert labels["title"] == "slimbayes"
    assert labels["base.name"] == BASE_IMAGE
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["revision"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["created"])


def test_it_is_small(engine: Engine, image: str) -> None:
    bytes_more = engine.inspect("image", image)["Size"] - engine.inspect("image", BASE_IMAGE)["Size"]
    print(f"image: {bytes_more / 1e6:.0f} MB over its base")
    assert bytes_more <= MOST_BYTES


def test_nobody_gains_rights_or_leaves_files(engine: Engine, image: str) -> None:
    """No program changes who runs it, and no folder is everybody's but /tmp, which is to be a tmpfs."""
    assert _run(engine, image, "find", *FAULTS, options=("--user", "0")).split() == ["/tmp"]


@pytest.mark.on_request("IMAGE_ALL")
def test_built_again_it_is_the_same(engine: Engine, image: str) -> None:
    """Without anything kept from the first time: each layer has the same digest, and the settings are the same."""
    engine.build(PROJECT, REBUILT, "image", "--no-cache", "--jobs", "2")
    first, second = (engine.inspect("image", name) for name in (IMAGES["image"], REBUILT))
    assert first["RootFS"] == second["RootFS"]
    assert first["Config"] == second["Config"]


def test_without_a_store_it_answers_with_the_zoo(engine: Engine, image: str) -> None:
    """The one command of the README: at once, on one core and in the memory that is documented."""
    with serving(engine, image, "slimbayes-zoo") as container:
        used, waited = container.processor_seconds(), container.seconds_to_ready
        print(f"image: ready after {waited:.2f} s, {used:.2f} s of one core")
        assert used < MOST_SECONDS
        # Where others want the cores too, the clock counts what they took.
        assert waited < MOST_SECONDS or os.getloadavg()[0] > len(os.sched_getaffinity(0))
        answer = container.post("/predict", photograph()).json()
        assert answer["model"] == "cifar10-resnet20"
        engine.podman("healthcheck", "run", container.name)


def test_a_locked_down_container_serves_and_stops_cleanly(
    engine: Engine, image: str, digits_store: Path, tmp_path: Path
) -> None:
    volume = f"{_readable_copy(digits_store, tmp_path)}:/store:ro"
    with serving(engine, image, "slimbayes-digits", "--volume", volume) as container:
        answer = container.post("/predict", _digit_png())
        assert answer.status_code == httpx.codes.OK, answer.text
        _check_answer(answer.json())
        models = container.get("/models").json()["models"]
        assert [model["name"] for model in models] == ["digits"]
        assert {level["name"] for level in models[0]["versions"][0]["levels"]} == {"dense", "p50", "p90"}
        assert container.stop() < STOP_SECONDS


def test_under_the_heaviest_load_memory_is_enough_and_sigterm_loses_nothing(engine: Engine, image: str) -> None:
    """All levels, the largest requests and small ones beside them; then the end, while all of them go on."""
    levels = ("dense", "p80", "p90", "p95", "x4")
    many = together([photograph(seed=n) for n in range(8)])
    requests: list[Request] = [(f"/predict?level={level}&samples=32", *many) for level in levels]
    requests += [("/predict", photograph(seed=n), "image/png") for n in range(10)]
    requests += [("/predict", *together([largest()] * 4, "image/jpeg"))]
    # What is asked here is more than one core computes in the time that callers usually have.
    options = ("--env", "SLIMBAYES_MAX_WAIT_MS=600000", "--env", "SLIMBAYES_DRAIN_SECONDS=1")
    with serving(engine, image, "slimbayes-load", *options) as container:
        with Load(container.url, requests, clients=8).running() as load:
            load.wait_for(3 * len(requests), seconds=120)
            refused = container.post("/predict?level=dense&samples=256", photograph())
            assert refused.status_code == httpx.codes.UNPROCESSABLE_ENTITY
            assert re.search(r"more than the \d+ MiB for networks here: ask for at most", refused.text)
            held = container.most_bytes()
            engine.podman("kill", "--signal", "TERM", container.name)
            load.stop_when(lambda: container.get("/readyz").status_code != httpx.codes.OK, seconds=10)
        assert load.failures == []
        engine.podman("wait", container.name, timeout=STOP_SECONDS)
        print(f"image: {held / 2**20:.0f} MiB at most, {load.answers.total()} answers")
        assert container.state["ExitCode"] == 0, engine.logs(container.name)
        assert not container.state["OOMKilled"]


def test_threads_are_those_of_the_quota(engine: Engine, image: str) -> None:
    """Half a core is one thread, since more would be throttled together (see benchmarks/serving/containers.py)."""
    code = "from service.resources import usable_cores; print(usable_cores())"
    counted = {cpus: int(_run_python(engine, image, code, "--cpus", cpus)) for cpus in ("0.5", "1.5", "2")}
    assert counted == {"0.5": 1, "1.5": 1, "2": min(2, len(os.sched_getaffinity(0)))}


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
    return encoded(Image.fromarray((load_digits().images[0] * (255 / 16)).astype(np.uint8)), "PNG")


def _readable_copy(store: Path, folder: Path) -> Path:
    """The store with its own file modes; only its root, a private folder of pytest's, is opened to the image's user."""
    copy = Path(shutil.copytree(store, folder / "store"))
    copy.chmod(0o755)
    return copy


def _run(engine: Engine, image: str, program: str, *arguments: str, options: Sequence[str] = ()) -> str:
    locked = ("run", "--rm", "--pull", "never", "--read-only", "--read-only-tmpfs=false", "--no-healthcheck")
    return engine.podman(*locked, *options, "--entrypoint", program, image, *arguments)


def _run_python(engine: Engine, image: str, code: str, *options: str) -> str:
    return _run(engine, image, "python", "-c", code, options=("--cap-drop", "ALL", *options))


def _normal_name(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
