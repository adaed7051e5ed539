"""The image that trains: the whole of `slimbayes train` in it, as it runs in a cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.image_engine import Engine
from tests.images.containers import LOCKED_DOWN

pytestmark = [
    pytest.mark.image,
    pytest.mark.slow,
    pytest.mark.skipif("IMAGE_ALL" not in os.environ, reason="fetches torch for minutes: asked for by IMAGE_ALL"),
]

LIMITS = ("run", "--rm", "--pull", "never", *LOCKED_DOWN, "--memory", "2g", "--cpus", "2")


def test_it_trains_and_prunes_digits(engine: Engine, train_image: str, tmp_path: Path) -> None:
    """Under torchrun, as the manifests call it, and by our own command; what it writes is the user's."""
    folders = {name: tmp_path / name for name in ("runs", "store")}
    for folder in folders.values():
        folder.mkdir()
        folder.chmod(0o777)
    tmp_path.chmod(0o755)
    volumes = [word for name, path in folders.items() for word in ("--volume", f"{path}:/{name}")]
    recipe = (
        "--data",
        "digits",
        "--estimator",
        "reparam",
        "--epochs",
        "2",
        "--warmup-epochs",
        "1",
        "--out",
        "runs/one",
    )
    torchrun = ("--standalone", "--nproc-per-node", "1", "-m", "training", *recipe)
    engine.podman(*LIMITS, *volumes, "--entrypoint", "torchrun", train_image, *torchrun, timeout=180)
    quality = json.loads((folders["runs"] / "one" / "quality.json").read_text())
    assert quality
    prune = ("prune", "runs/one", "--levels", "p50", "--epochs", "1", "--model", "digits", "--store", "store")
    engine.podman(*LIMITS, *volumes, train_image, *prune, timeout=180)
    (manifest,) = folders["store"].glob("digits/*/manifest.json")
    assert manifest.stat().st_uid == 10001


def test_its_torch_needs_no_gpu_and_its_bill_names_it(engine: Engine, train_image: str) -> None:
    code = (
        "import json, torch; bill = json.load(open('/usr/share/sbom/python.cdx.json'))['components'];"
        "print(json.dumps([torch.version.cuda, torch.__version__, {each['name']: each['version'] for each in bill}]))"
    )
    printed = engine.podman(*LIMITS, "--entrypoint", "python", train_image, "-c", code, timeout=120)
    cuda, version, components = json.loads(printed)
    assert cuda is None
    assert components["torch"] == version
    assert not any(name.startswith(("nvidia", "pip", "hatchling")) for name in components)
