"""Hostile and damaged files, with checksums that fit: each is refused with a reason or answers, and costs nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from model_store.errors import VerificationError
from model_store.manifest import Manifest
from model_store.onnx_file.reader import MAX_NODES, read_level_file
from model_store.storage.location import ZOO
from model_store.store import Store
from service.settings import Settings
from tests.support.hostile.bytes import bombs, mutated
from tests.support.hostile.manifests import MANIFESTS
from tests.support.hostile.models import crafted
from tests.support.restamped import replaced
from tests.support.tiny_levels import publish_tiny
from tests.support.waiting import HANG_S

LEVEL, MUTATIONS, SEED = "p90", 100, 20261123
MOST_GROWTH = 200 * 2**20
Outcome = Mapping[str, Any]


@pytest.fixture(scope="module")
def version() -> tuple[Manifest, bytes]:
    """A version of one level, and its file."""
    store = Store.open(ZOO)
    manifest = store.manifest("cifar10-resnet20", store.resolve("cifar10-resnet20"))
    level = manifest.level(LEVEL)
    assert level is not None
    return manifest.model_copy(update={"levels": (level,), "default_level": LEVEL}), store.read_level(manifest, LEVEL)


def write(folder: Path, manifest: Manifest, data: bytes, document: bytes | None = None) -> None:
    """A store with one version of one level; its checksum is that of the file, whatever that is."""
    path = folder / manifest.model / manifest.version
    (path / LEVEL).mkdir(parents=True)
    (path / LEVEL / "model.onnx").write_bytes(data)
    (path / "manifest.json").write_bytes(document or replaced(manifest, {LEVEL: data}).to_json())


def serve(folder: Path) -> dict[str, Outcome]:
    """What the service makes of each store in `folder`, in a process that nothing may end."""
    command = [sys.executable, "-m", "tests.support.hostile.worker", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    found = {each["store"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, (max(found, default=None), done.stderr[-3000:])
    assert found.keys() == {each.name for each in folder.iterdir()}
    return found


def assert_cheap(found: Mapping[str, Outcome]) -> None:
    """Nobody's memory grew, and no refusal tells of paths or of how the service is made."""
    grown = 0
    for store, outcome in found.items():
        assert outcome["grown"] < MOST_GROWTH, (store, outcome["grown"] - grown)
        grown = outcome["grown"]
        assert not re.search(r"Traceback|/tmp|\.py|object at 0x", outcome["refusal"] or ""), (store, outcome)


@pytest.mark.slow
def test_crafted_files_are_refused(version: tuple[Manifest, bytes], tmp_path: Path) -> None:
    """Each with its own reason."""
    manifest, data = version
    write(tmp_path / "- honest", manifest, data)
    says = {}
    for name, changed, what in chain(crafted(data), bombs(data)):
        write(tmp_path / name, manifest, changed)
        says[name] = what
    found = serve(tmp_path)
    assert found.pop("- honest")["finite"]
    assert len(says) > 150
    wrong = {name: found[name] for name, what in says.items() if not re.search(what, found[name]["refusal"] or "")}
    assert not wrong, json.dumps(wrong, indent=1)
    assert_cheap(found)


@pytest.mark.slow
def test_damaged_files_are_refused_or_answer(version: tuple[Manifest, bytes], tmp_path: Path) -> None:
    """Where no value of a tensor changed the answers are as before; where one did, they are numbers."""
    manifest, data = version
    write(tmp_path / "- honest", manifest, data)
    touched = {}
    for name, changed, values in mutated(data, value_ranges(data), MUTATIONS, SEED):
        write(tmp_path / name, manifest, changed)
        touched[name] = values
    found = serve(tmp_path)
    honest = found.pop("- honest")
    answered = {name: outcome for name, outcome in found.items() if outcome["refusal"] is None}
    assert all(outcome["finite"] for outcome in answered.values())
    others = {name for name, outcome in answered.items() if outcome["draws"] != honest["draws"]}
    assert not [name for name in others if not touched[name]]
    assert MUTATIONS // 3 < len(found) - len(answered) < MUTATIONS
    assert_cheap(found)


@pytest.mark.slow
def test_hostile_manifests_are_refused(version: tuple[Manifest, bytes], tmp_path: Path) -> None:
    """Whatever a manifest says, the service goes on, and says what is wrong with it."""
    manifest, data = version
    write(tmp_path / "- honest", manifest, data)
    for name, (build, _) in MANIFESTS.items():
        write(tmp_path / name, manifest, data, build(json.loads(manifest.to_json())))
    found = serve(tmp_path)
    assert found.pop("- honest")["finite"]
    says = {name: what for name, (_, what) in MANIFESTS.items()}
    wrong = {name: found[name] for name, what in says.items() if not re.search(what, found[name]["refusal"] or "")}
    assert not wrong, json.dumps(wrong, indent=1)
    assert_cheap(found)


def value_ranges(data: bytes) -> list[range]:
    """Where the values of tensors lie in a file."""
    begin = np.frombuffer(data, np.uint8).ctypes.data
    (member,) = read_level_file(data).members
    tensors = member.tensors.values()
    parts = [part for each in tensors for part in (each.values, each.places) if part is not None and len(part)]
    starts = [np.frombuffer(part, np.uint8).ctypes.data - begin for part in parts]
    return [range(start, start + len(part)) for start, part in zip(starts, parts, strict=True)]


def test_more_bytes_than_allowed_are_not_even_read(version: tuple[Manifest, bytes], tmp_path: Path) -> None:
    """A file of a terabyte that its manifest announces."""
    from service.repository.repository import ModelRepository

    manifest, data = version
    huge = manifest.model_copy(update={"levels": (manifest.levels[0].model_copy(update={"bytes": 2**40}),)})
    write(tmp_path, manifest, data, huge.to_json())
    with (tmp_path / manifest.model / manifest.version / LEVEL / "model.onnx").open("r+b") as file:
        file.truncate(2**40)
    catalog = ModelRepository(Settings(store=tmp_path, allow_empty=True))
    (served,) = catalog.models[manifest.model].versions.values()
    assert "more than the 1,073,741,824 bytes that are allowed" in (served.refusal or "")
    catalog.close()


@pytest.mark.parametrize("most", [1_000, 10_000, 10**6])
def test_the_limit_is_the_operators(version: tuple[Manifest, bytes], most: int) -> None:
    """What one service serves, another may refuse."""
    with pytest.raises(VerificationError, match=rf"more than (the {most} bytes|{most:,})"):
        read_level_file(version[1], most)


def test_more_nodes_than_any_network_are_refused(tmp_path: Path) -> None:
    """Optimising a graph takes time in the square of them."""
    folder = publish_tiny(tmp_path)
    model = onnx.load_model_from_string((folder / "a" / "model.onnx").read_bytes())
    read_level_file(model.SerializeToString())
    (last,) = (node for node in model.graph.node if node.output[0] == "pooled")
    for number in range(MAX_NODES):
        model.graph.node.insert(2, onnx.helper.make_node("Relu", [f"r{number}"], [f"r{number + 1}"], name=f"r{number}"))
    last.input[0] = f"r{MAX_NODES}"
    with pytest.raises(VerificationError, match="nodes, more than 4,096"):
        read_level_file(model.SerializeToString())
