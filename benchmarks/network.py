"""Two hosts on one machine: network namespaces that know each other by name and share one cable, of any bandwidth.

Needs root, and `ip` and `tc` of iproute2.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

ADDRESSES = {"node1": "10.79.0.1", "node2": "10.79.0.2"}
CABLE = "eth0"
# What enters a host beyond its network: its name, and the addresses of all names.
ENTER = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'


class NetworkError(Exception):
    """Hosts cannot be made here."""


@dataclass(frozen=True)
class Host:
    """A network namespace, with a name and a file of all hosts' names."""

    name: str
    namespace: str
    names: Path

    def command(self, *command: str) -> list[str]:
        """How `command` is started on this host."""
        enter = ("ip", "netns", "exec", self.namespace, "unshare", "--uts", "sh", "-c", ENTER, self.name)
        return [*enter, str(self.names), *command]

    def traffic(self) -> dict[str, int]:
        """Bytes that this host has sent (`tx`) and received (`rx`) over the cable."""
        (link,) = json.loads(_ip("-netns", self.namespace, "-json", "-statistics", "link", "show", CABLE))
        return {way: link["stats64"][way]["bytes"] for way in ("tx", "rx")}

    def shape(self, megabits: float) -> None:
        """Let the cable take no more than so many Mbit/s from this host: a token bucket of a few packets."""
        bucket = ("root", "tbf", "rate", f"{megabits}mbit", "burst", "64kb", "latency", "400ms")
        _run("tc", "-netns", self.namespace, "qdisc", "replace", "dev", CABLE, *bucket)

    def processes(self) -> list[int]:
        """The process ids of all that runs here."""
        return [int(pid) for pid in _ip("netns", "pids", self.namespace).split()]

    def worker(self) -> int:
        """The process id of the one rank that trains here."""
        (pid,) = (pid for pid in self.processes() if b"\0LOCAL_RANK=" in Path(f"/proc/{pid}/environ").read_bytes())
        return pid


@contextmanager
def two_hosts(folder: Path) -> Iterator[list[Host]]:
    """Two hosts, whose file of names goes into `folder`; whatever runs on them at the end is killed.

    Raises NetworkError where they cannot be made.
    """
    mark = uuid4().hex[:8]
    names = folder / "hosts"
    names.write_text("".join(f"{address} {name}\n" for name, address in ADDRESSES.items()) + "127.0.0.1 localhost\n")
    hosts = [Host(name, f"slimbayes-{mark}-{name}", names) for name in ADDRESSES]
    made: list[Host] = []
    try:
        try:
            for host in hosts:
                _ip("netns", "add", host.namespace)
                made.append(host)
            _connect(hosts)
        except FileNotFoundError as error:
            raise NetworkError("no `ip` on PATH (.ci/containers installs it on Debian)") from error
        except subprocess.CalledProcessError as error:
            raise NetworkError(f"network namespaces cannot be made here: {error.stderr.strip()}") from error
        yield hosts
    finally:
        for host in made:
            for pid in host.processes():
                os.kill(pid, signal.SIGKILL)
            _ip("netns", "delete", host.namespace)


def _connect(hosts: list[Host]) -> None:
    first, second = (host.namespace for host in hosts)
    _ip("link", "add", CABLE, "netns", first, "type", "veth", "peer", "name", CABLE, "netns", second)
    for host in hosts:
        _ip("-netns", host.namespace, "address", "add", f"{ADDRESSES[host.name]}/24", "dev", CABLE)
        for interface in ("lo", CABLE):
            _ip("-netns", host.namespace, "link", "set", interface, "up")
        _run(*host.command("true"))


def _ip(*command: str) -> str:
    return _run("ip", *command)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
