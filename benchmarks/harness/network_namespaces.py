"""Emulate two hosts on one machine: network namespaces with host names and one link of any bandwidth between them.

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
INTERFACE = "eth0"
# Sets the host name and the hosts file, which a network namespace alone does not.
ENTER = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'


class NetworkError(Exception):
    """Network namespaces cannot be created on this machine."""


@dataclass(frozen=True)
class Host:
    """A network namespace with a host name and a hosts file."""

    name: str
    namespace: str
    names: Path

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs `command` on this host."""
        enter = ("ip", "netns", "exec", self.namespace, "unshare", "--uts", "sh", "-c", ENTER, self.name)
        return [*enter, str(self.names), *command]

    def traffic(self) -> dict[str, int]:
        """Return the bytes that this host has sent (`tx`) and received (`rx`) over the link."""
        (link,) = json.loads(_ip("-netns", self.namespace, "-json", "-statistics", "link", "show", INTERFACE))
        return {way: link["stats64"][way]["bytes"] for way in ("tx", "rx")}

    def shape(self, megabits: float) -> None:
        """Limit this host's sending rate to `megabits` Mbit/s, by a token bucket of a few packets."""
        bucket = ("root", "tbf", "rate", f"{megabits}mbit", "burst", "64kb", "latency", "400ms")
        _run("tc", "-netns", self.namespace, "qdisc", "replace", "dev", INTERFACE, *bucket)

    def processes(self) -> list[int]:
        """Return the ids of all processes on this host."""
        return [int(pid) for pid in _ip("netns", "pids", self.namespace).split()]

    def worker(self) -> int:
        """Return the process id of this host's one rank."""
        (pid,) = (pid for pid in self.processes() if b"\0LOCAL_RANK=" in Path(f"/proc/{pid}/environ").read_bytes())
        return pid


@contextmanager
def two_hosts(folder: Path) -> Iterator[list[Host]]:
    """Create two hosts with their hosts file in `folder`; kill all their processes at the end.

    Raises NetworkError where they cannot be created.
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
            raise NetworkError(f"network namespaces cannot be created: {error.stderr.strip()}") from error
        yield hosts
    finally:
        for host in made:
            for pid in host.processes():
                os.kill(pid, signal.SIGKILL)
            _ip("netns", "delete", host.namespace)


def _connect(hosts: list[Host]) -> None:
    first, second = (host.namespace for host in hosts)
    _ip("link", "add", INTERFACE, "netns", first, "type", "veth", "peer", "name", INTERFACE, "netns", second)
    for host in hosts:
        _ip("-netns", host.namespace, "address", "add", f"{ADDRESSES[host.name]}/24", "dev", INTERFACE)
        for interface in ("lo", INTERFACE):
            _ip("-netns", host.namespace, "link", "set", interface, "up")
        _run(*host.command("true"))


def _ip(*command: str) -> str:
    return _run("ip", *command)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
