"""A real S3 server: OpenStack Swift, all four servers of it, in one process on free ports of 127.0.0.1.

    .venv-swift/bin/python tests/support/programs/swift_server.py FOLDER

Run by the interpreter of an environment that has Swift, and no other. It keeps everything in FOLDER, prints its address
once it listens, and ends with its standard input. Users of account `test` are `tester`, who may do anything, and
`reader`, who may do what a bucket's access list says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import eventlet
import eventlet.tpool
from eventlet import wsgi
from swift.common import utils
from swift.common.ring import RingBuilder
from swift.common.wsgi import loadapp

BACKENDS = ("account", "container", "object")
COMMON = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
"""
# On a busy machine Swift would sooner be out of date than wait: nobody here brings its listings up to date later.
PATIENCE = """
conn_timeout = 10
node_timeout = 60
recoverable_node_timeout = 60
container_update_timeout = 60
"""
BACKEND = """
[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
{patience}
"""
PROXY = """
[pipeline:main]
pipeline = memory s3api tempauth bulk slo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
{patience}

[filter:memory]
paste.filter_factory = swift_server:with_memory

[filter:s3api]
use = egg:swift#s3api

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_test_reader = reading

[filter:bulk]
use = egg:swift#bulk

[filter:slo]
use = egg:swift#slo
"""


class Memory:
    """What Swift keeps in memcached where it has one."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, **_: Any) -> Any:
        found = self.values.get(key)
        return None if found is None else json.loads(found)

    def set(self, key: str, value: Any, **_: Any) -> None:
        self.values[key] = json.dumps(value)

    def delete(self, key: str, **_: Any) -> None:
        self.values.pop(key, None)


def with_memory(*_: Any, **__: Any) -> Any:
    """The filter that gives requests their memory."""
    memory = Memory()

    def around(app: Any) -> Any:
        return lambda environ, start: app(environ | {"swift.cache": memory}, start)

    return around


def serve(folder: Path) -> None:
    """Serve until standard input ends."""
    listeners = {kind: eventlet.listen(("127.0.0.1", 0), backlog=256) for kind in (*BACKENDS, "proxy")}
    for kind in BACKENDS:
        write_ring(folder / f"{kind}.ring.gz", listeners[kind].getsockname()[1])
    for kind, listener in listeners.items():
        path = folder / f"{kind}.conf"
        written = COMMON + (BACKEND if kind in BACKENDS else PROXY)
        path.write_text(written.format(folder=folder, kind=kind, patience=PATIENCE))
        eventlet.spawn(wsgi.server, listener, loadapp(str(path)), utils.NullLogger(), log_output=False)
    host, port = listeners["proxy"].getsockname()
    print(f"http://{host}:{port}", flush=True)
    eventlet.tpool.execute(sys.stdin.read)


def write_ring(path: Path, port: int) -> None:
    """The ring of one server with one disk."""
    builder = RingBuilder(part_power=2, replicas=1, min_part_hours=0)
    address = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder.add_dev({"region": 1, "zone": 1, "device": "disk", "weight": 1.0, "meta": ""} | address)
    builder.rebalance()
    builder.get_ring().save(str(path))


if __name__ == "__main__":
    sys.modules["swift_server"] = sys.modules[__name__]
    folder = Path(sys.argv[1])
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
    utils.SWIFT_CONF_FILE = str(folder / "swift.conf")
    eventlet.monkey_patch()
    serve(folder)
