"""Snapshots: whole or not at all, and refused where they are damaged, foreign or of another run."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from training.atomic import write_atomically
from training.errors import CheckpointError, RunError
from training.recipe import Recipe
from training.trainer.checkpoint import Checkpoint


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    return Checkpoint(Recipe().to_json(), 640, {}, dict(module.state_dict()), optimizer.state_dict())


def test_a_round_trip_is_equal_to_the_bit(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "checkpoint.pt")
    found = Checkpoint.load(tmp_path / "checkpoint.pt")
    assert (found.recipe, found.images) == (checkpoint.recipe, 640)
    assert all(torch.equal(found.model[name], tensor) for name, tensor in checkpoint.model.items())
    for number, state in checkpoint.optimizer["state"].items():
        for name, value in state.items():
            assert torch.equal(found.optimizer["state"][number][name], value)


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_a_failing_write_leaves_the_old_one(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path)
    before = path.read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "open" if call == "write" else "replace", full)
    with pytest.raises(RunError, match=r"cannot write .*checkpoint\.pt: No space left"):
        Checkpoint({}, 1, {}, {}, {}).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_the_new_one_is_on_disk_before_it_takes_the_old_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, events = tmp_path / "file", []
    write_atomically(path, b"old")
    sync, replace = os.fsync, Path.replace

    def recorded_sync(number: int) -> None:
        events.append(("fsync", os.fstat(number).st_size, path.read_bytes()))
        sync(number)

    def recorded_replace(staged: Path, target: Path) -> Path:
        events.append(("replace", staged.stat().st_size, path.read_bytes()))
        return replace(staged, target)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    write_atomically(path, b"newer")
    assert events[:2] == [("fsync", 5, b"old"), ("replace", 5, b"old")]
    (folder,) = events[2:]
    assert (folder[0], folder[2]) == ("fsync", b"newer")
    assert path.read_bytes() == b"newer"


@pytest.mark.parametrize("place", ["nowhere/file", "a file/file"])
def test_a_place_that_cannot_be_written_is_a_run_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(RunError, match="cannot write"):
        write_atomically(tmp_path / place, b"")


def test_any_truncation_is_a_checkpoint_error(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "part").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="may be damaged"):
            Checkpoint.load(tmp_path / "part")


def test_a_flipped_bit_is_seen_or_harmless(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    generator, refused = random.Random(0), 0
    for _ in range(400):
        data = bytearray(whole)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        (tmp_path / "flipped").write_bytes(data)
        try:
            found = Checkpoint.load(tmp_path / "flipped")
        except CheckpointError:
            refused += 1
            continue
        assert (found.recipe, found.images) == (checkpoint.recipe, 640)
        assert all(torch.equal(found.model[name], tensor) for name, tensor in checkpoint.model.items())
    assert refused > 50


@pytest.mark.parametrize(
    "thing",
    [
        pytest.param(nn.Linear(2, 2).state_dict(), id="a plain state"),
        pytest.param([1, 2, 3], id="a list"),
        pytest.param({"recipe": {}, "images": 1, "model": {}}, id="a part missing"),
        pytest.param({"recipe": {}, "images": 1, "model": {}, "optimizer": {}, "epoch": 3}, id="a part too many"),
        pytest.param({"recipe": 1, "images": "2", "model": 3, "optimizer": 4}, id="other types"),
    ],
)
def test_a_foreign_checkpoint_is_refused(thing: object, tmp_path: Path) -> None:
    torch.save(thing, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=r"foreign\.pt is not a checkpoint of slimbayes train"):
        Checkpoint.load(tmp_path / "foreign.pt")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100), b"cos\nsystem\n(S'true'\ntR."])
def test_a_foreign_file_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(data)
    with pytest.raises(CheckpointError, match="cannot be read"):
        Checkpoint.load(tmp_path / "foreign")


class _Command:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def test_a_malicious_checkpoint_is_refused_without_running(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"recipe": _Command(f"touch {trace}"), "images": 1, "model": {}, "optimizer": {}}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError):
        Checkpoint.load(tmp_path / "bad.pt")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "resnet20"}, "architecture 'convnet', this run asks for 'resnet20'"),
        ({"learning_rate": 0.1}, "learning_rate 0.005, this run asks for 0.1"),
        ({"seed": 4}, "seed 0, this run asks for 4"),
        ({"limit": 100}, "limit None, this run asks for 100"),
    ],
)
def test_another_recipe_is_refused_with_the_difference(
    checkpoint: Checkpoint, settings: dict[str, object], message: str
) -> None:
    checkpoint.check_recipe(Recipe().to_json())
    with pytest.raises(CheckpointError, match=message):
        checkpoint.check_recipe(Recipe().to_json() | settings)
