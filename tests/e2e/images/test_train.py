"""The image that trains: the whole of `slimbayes train` in it, as it runs in a cluster."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from pathlib import Path

import pytest

from benchmarks.harness.network_namespaces import ADDRESSES, INTERFACE, Host, two_hosts
from tests.support.containers import LOCKED_DOWN
from tests.support.image_engine import Engine
from tests.support.project import PROJECT
from tests.support.waiting import HANG_S
from training.trainer.run_dir import Run

pytestmark = [pytest.mark.system, pytest.mark.slow]

CONTAINER = ("run", "--pull", "never", *LOCKED_DOWN, "--memory", "2g")
LIMITS = (*CONTAINER, "--rm", "--cpus", "2")


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
        "--limit",
        "400",
        "--epochs",
        "2",
        "--warmup-epochs",
        "1",
        "--out",
        "runs/one",
    )
    torchrun = ("--standalone", "--nproc-per-node", "1", "-m", "training", *recipe)
    engine.podman(*LIMITS, *volumes, "--entrypoint", "torchrun", train_image, *torchrun, timeout=HANG_S)
    quality = json.loads((folders["runs"] / "one" / "quality.json").read_text())
    assert quality
    prune = (
        "prune",
        "runs/one",
        "--levels",
        "p50",
        "--epochs",
        "1",
        "--draws",
        "4",
        "--model",
        "digits",
        "--store",
        "store",
    )
    engine.podman(*LIMITS, *volumes, train_image, *prune, timeout=HANG_S)
    (manifest,) = folders["store"].glob("digits/*/manifest.json")
    assert manifest.stat().st_uid == 10001


def test_its_torch_needs_no_gpu_and_its_bill_names_it(engine: Engine, train_image: str) -> None:
    code = (
        "import json, torch; bill = json.load(open('/usr/share/sbom/python.cdx.json'))['components'];"
        "print(json.dumps([torch.version.cuda, torch.__version__, {each['name']: each['version'] for each in bill}]))"
    )
    printed = engine.podman(*LIMITS, "--entrypoint", "python", train_image, "-c", code, timeout=HANG_S)
    cuda, version, components = json.loads(printed)
    assert cuda is None
    assert components["torch"] == version
    assert not any(name.startswith(("nvidia", "pip", "hatchling")) for name in components)


def test_two_hosts_train_in_it_and_outlive_a_worker(engine: Engine, train_image: str, tmp_path: Path) -> None:
    """The documented command with elastic restart, a container on each of two hosts that share one cable."""
    text = (PROJECT / "docs" / "guides" / "distributed.md").read_text().replace("\\\n", " ")
    documented = re.search(r"^\$ torchrun (--nnodes 2 .*--max-restarts .*)$", text, re.MULTILINE)
    assert documented
    command = [*shlex.split(documented[1]), "--limit", "200", "--epochs", "20", "--device", "cpu"]
    tmp_path.chmod(0o755)
    runs = tmp_path / "runs"
    runs.mkdir()
    runs.chmod(0o777)
    with two_hosts(tmp_path) as hosts:
        _train_on(hosts, engine, train_image, command, runs)


def _train_on(hosts: list[Host], engine: Engine, image: str, command: list[str], runs: Path) -> None:
    names = [word for name, address in ADDRESSES.items() for word in ("--add-host", f"{name}:{address}")]
    settings = ("--env", f"GLOO_SOCKET_IFNAME={INTERFACE}", "--env", "PET_MONITOR_INTERVAL=0.1")
    for host in hosts:
        place = ("--network", f"ns:/run/netns/{host.namespace}", "--hostname", host.name, "--cpus", "1")
        options = (*CONTAINER, *place, *names, *settings, "--volume", f"{runs}:/runs", "--entrypoint", "torchrun")
        engine.podman(*options, "--detach", "--name", host.name, image, *command)
    run = Run(runs / Path(command[command.index("--out") + 1]).name)
    deadline = time.monotonic() + HANG_S
    while not run.checkpoint.exists():
        assert time.monotonic() < deadline, engine.logs(hosts[0].name)
        time.sleep(0.05)
    os.kill(hosts[1].worker(), signal.SIGKILL)
    for host in hosts:
        assert engine.podman("wait", host.name, timeout=HANG_S) == "0", engine.logs(host.name)
    assert "exitcode: -9" in engine.logs(hosts[1].name)
    assert run.finished
    assert run.facts()["world_size"] == 2
    assert all(host.traffic()["tx"] > 2**20 for host in hosts)
