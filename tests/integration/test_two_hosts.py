"""Training on two hosts: network namespaces that know each other by name and share one cable."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from benchmarks.harness.network_namespaces import INTERFACE, Host, two_hosts
from tests.support.project import PROJECT
from tests.support.waiting import HANG_S
from training.trainer.run_dir import Run

pytestmark = [pytest.mark.system, pytest.mark.slow]

Start = Callable[..., tuple[subprocess.Popen[bytes], Path]]
SMALL = ("--limit", "200", "--estimator", "reparam", "--device", "cpu")


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    """Two hosts; whatever runs on them when the test is over is killed."""
    with ExitStack() as stack:
        yield stack.enter_context(two_hosts(tmp_path))


@pytest.fixture
def start(hosts: list[Host], environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts a command as one does on a host, in a folder that all share; returns its process and what it prints."""
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    common = environment | {"PATH": path, "GLOO_SOCKET_IFNAME": INTERFACE, "PET_MONITOR_INTERVAL": "0.1"}
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], **variables: str) -> tuple[subprocess.Popen[bytes], Path]:
        log = tmp_path / f"{len(started)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(command, cwd=tmp_path, env=common | variables, stdout=file, stderr=file)
        started.append(process)
        return process, log

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_documented_command_trains_on_two_hosts(hosts: list[Host], start: Start, tmp_path: Path) -> None:
    text = (PROJECT / "docs" / "guides" / "distributed.md").read_text().replace("\\\n", " ")
    documented = re.search(r"^\$ (torchrun --nnodes 2 .*--rdzv-backend c10d .*)$", text, re.MULTILINE)
    assert documented
    command = [*shlex.split(documented[1]), *SMALL, "--epochs", "2"]
    run = Run(tmp_path / command[command.index("--out") + 1])
    before = [host.traffic() for host in hosts]

    for launcher, log in [start(host.command(*command)) for host in hosts]:
        assert launcher.wait(HANG_S) == 0, log.read_text()

    assert run.finished
    assert run.facts()["world_size"] == 2
    least = _least_bytes_of_gradients(run)
    for host, earlier in zip(hosts, before, strict=True):
        for way, total in host.traffic().items():
            assert total - earlier[way] >= least, f"{host.name} {way}"


def test_a_narrow_cable_is_what_a_step_waits_for(hosts: list[Host], start: Start, tmp_path: Path) -> None:
    """At 4 Mbit/s a run with elastic restart takes at least as long as its gradients take on the cable."""
    megabits, run = 4.0, Run(tmp_path / "run")
    command = ["torchrun", "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "1", "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "node1:29400", "--rdzv-id", "narrow", "-m", "training", *SMALL, "--epochs", "1"]
    for host in hosts:
        host.shape(megabits)
    for launcher, log in [start(host.command(*command, "--out", str(run.folder))) for host in hosts]:
        assert launcher.wait(HANG_S) == 0, log.read_text()
    seconds = sum(json.loads(line)["seconds"] for line in (run.folder / "log.jsonl").read_text().splitlines())
    assert seconds >= 8e-6 * _least_bytes_of_gradients(run) / megabits


def test_slurm_trains_on_two_hosts_and_outlives_a_worker(hosts: list[Host], start: Start, tmp_path: Path) -> None:
    """Slurm itself is played: `srun` starts its command on both hosts, `scontrol` knows their names."""
    played = tmp_path / "bin"
    played.mkdir()
    starts = [f'{shlex.join(host.command())} "$@" & pids="$pids $!"' for host in hosts]
    skip_options, wait = 'while [ "${1#--}" != "$1" ]; do shift; done', "for pid in $pids; do wait $pid || exit; done"
    _script(played / "srun", skip_options, *starts, wait)
    _script(played / "scontrol", '[ "$*" = "show hostnames node[1-2]" ] && echo node1 && echo node2')
    allocation = {"JOB_ID": "7", "JOB_NODELIST": "node[1-2]", "NNODES": "2", "CPUS_PER_TASK": "1"}
    run = Run(tmp_path / "run")

    path = f"{played}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [str(PROJECT / "docker" / "slurm.sh"), *SMALL, "--epochs", "20", "--out", str(run.folder)]
    script, log = start(command, PATH=path, **{f"SLURM_{name}": value for name, value in allocation.items()})
    deadline = time.monotonic() + HANG_S
    while not run.checkpoint.exists():
        assert script.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
    os.kill(hosts[1].worker(), signal.SIGKILL)

    assert script.wait(HANG_S) == 0, log.read_text()
    assert "exitcode: -9" in log.read_text()
    assert run.finished


def _least_bytes_of_gradients(run: Run) -> int:
    """What each host must send and receive: every step, two bytes at least for each mean and each scale."""
    entries = sum(array.size for array in load_file(run.folder / "posterior.safetensors").values())
    lines = (run.folder / "log.jsonl").read_text().splitlines()
    steps = json.loads(lines[-1])["images"] // (2 * run.recipe().batch_size)
    return int(2 * entries * steps)


def _script(path: Path, *lines: str) -> None:
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
