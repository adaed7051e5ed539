"""Event files, read back by the format's own rules and as TensorBoard shows them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboardX.proto.event_pb2 import Event, SessionLog

from training.data.dataset import Dataset
from training.distributed.world import World
from training.errors import RunError
from training.recipe import Recipe
from training.trainer import recorder
from training.trainer.initialization import initial_network
from training.trainer.loop import Step, TrainState
from training.trainer.recorder import Recorder
from training.trainer.run_dir import Run
from training.trainer.tensorboard import EventWriter
from training.trainer.train import approximation, train

RECIPE = Recipe(epochs=4, estimator="reparam", limit=60, warmup_epochs=1.0)


def masked_crc32c(data: bytes) -> int:
    """CRC-32C bit by bit (RFC 3720), masked as TensorFlow masks it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def events_of(file: Path) -> Iterator[Event]:
    """Every event of a file, whose checksums must hold."""
    data = file.read_bytes()
    while data:
        (length,), (of_length,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        message, (of_message,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert of_length == masked_crc32c(data[:8])
        assert of_message == masked_crc32c(message)
        yield Event.FromString(message)
        data = data[16 + length :]


def shown(folder: Path) -> list[Event]:
    """What TensorBoard shows of a folder: where a session starts, it drops what there was at that step and later."""
    events: list[Event] = []
    for file in sorted(folder.iterdir()):
        first, *others = events_of(file)
        assert first.file_version == "brain.Event:2"
        for event in others:
            if event.session_log.status == SessionLog.START:
                events = [earlier for earlier in events if earlier.step < event.step]
            else:
                events.append(event)
    return events


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in shown(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def histogram_steps(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for event in shown(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "histo":
                found.setdefault(value.tag, []).append(event.step)
    return found


def assert_same_as_logs(run: Run) -> None:
    """The events show each figure of the logs once, and nothing else."""
    log = run.lines("log.jsonl")
    scalars = scalars_of(run.folder / "events")
    assert scalars.keys() == log[0].keys() - {"images"}
    for name, points in scalars.items():
        assert [step for step, _ in points] == [line["images"] for line in log]
        assert [value for _, value in points] == pytest.approx([line[name] for line in log], rel=1e-6)
    pictures = run.lines("layers.jsonl")
    expected = {f"{kind}/{name}" for kind in ("mean", "log_scale") for name in pictures[0]["layers"]}
    steps = histogram_steps(run.folder / "events")
    assert steps.keys() == expected
    assert all(of_layer == [line["images"] for line in pictures] for of_layer in steps.values())


def test_checksums_are_those_of_the_standard() -> None:
    """The check value of CRC-32C, unmasked, is 0xE3069283."""
    unrotated = (masked_crc32c(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert ((unrotated << 15) | (unrotated >> 17)) & 0xFFFFFFFF == 0xE3069283


def test_scalars_are_on_the_disk_when_the_call_returns(tmp_path: Path) -> None:
    events = EventWriter(tmp_path / "deep" / "events", None)
    events.scalars(50, {"loss": 0.25, "accuracy": 0.1})
    events.scalars(100, {"loss": float("nan")})
    scalars = scalars_of(tmp_path / "deep" / "events")
    assert scalars["accuracy"] == [(50, pytest.approx(0.1))]
    assert scalars["loss"][0] == (50, 0.25)
    assert np.isnan(scalars["loss"][1][1])


def test_a_histogram_counts_as_numpy_does(tmp_path: Path) -> None:
    values = torch.randn(40, 25, generator=torch.Generator().manual_seed(0))
    EventWriter(tmp_path, None).histograms(7, {"mean/conv": values})
    (event,) = shown(tmp_path)
    picture, flat = event.summary.value[0].histo, values.numpy().flatten().astype(np.float64)
    counts, edges = np.histogram(flat, 64)
    assert (event.step, event.summary.value[0].tag) == (7, "mean/conv")
    assert list(picture.bucket) == [0, *counts]
    assert list(picture.bucket_limit) == pytest.approx(list(edges))
    assert (picture.min, picture.max, picture.num) == (flat.min(), flat.max(), 1000)
    assert picture.sum == pytest.approx(flat.sum())
    assert picture.sum_squares == pytest.approx((flat**2).sum())


def test_a_histogram_of_one_value_has_all_in_one_bin(tmp_path: Path) -> None:
    EventWriter(tmp_path, None).histograms(0, {"log_scale/conv": torch.full((9,), -1.5)})
    picture = shown(tmp_path)[0].summary.value[0].histo
    assert sum(picture.bucket) == max(picture.bucket) == 9
    assert list(picture.bucket_limit) == sorted(picture.bucket_limit)


def test_what_came_after_the_checkpoint_is_shown_once(tmp_path: Path) -> None:
    """An epoch that ended at the checkpoint itself is not logged again, and stays."""
    before = EventWriter(tmp_path, None)
    for step in (50, 100, 150):
        before.scalars(step, {"loss": step})
    after = EventWriter(tmp_path, 100)
    after.scalars(150, {"loss": 1.5})
    assert scalars_of(tmp_path)["loss"] == [(50, 50), (100, 100), (150, 1.5)]
    EventWriter(tmp_path, None).scalars(50, {"loss": 2.5})
    assert scalars_of(tmp_path)["loss"] == [(50, 2.5)]


def test_a_run_has_the_figures_of_its_logs_as_events(digits_run: Path) -> None:
    assert_same_as_logs(Run(digits_run))


def test_a_resumed_run_shows_each_epoch_once(tmp_path: Path, alone: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only checkpoint is of the second epoch's end; the interruption comes once two more were logged."""

    class Interruption(Exception):
        pass

    record, save = Recorder.__call__, Recorder.save

    def saving_early(self: Recorder) -> None:
        if self.state.images <= 2 * len(self.dataset.train):
            save(self)

    def interrupted(self: Recorder, step: Step) -> None:
        record(self, step)
        if step.epoch == 2 and step.epoch_ended:
            raise Interruption

    run = Run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(recorder, "EPOCH_CHECKPOINT_S", -1.0)
        patch.setattr(Recorder, "save", saving_early)
        patch.setattr(Recorder, "__call__", interrupted)
        with pytest.raises(Interruption):
            train(RECIPE, run.folder, alone)
    assert [line["epoch"] for line in run.lines("log.jsonl")] == [1, 2, 3]
    train(RECIPE, run.folder, alone, resume=True)
    assert len(list((run.folder / "events").iterdir())) == 2
    assert_same_as_logs(run)


def test_a_plain_run_has_histograms_of_its_means_only(tmp_path: Path, alone: World) -> None:
    train(Recipe(estimator="none", epochs=1, limit=60, warmup_epochs=0.0), tmp_path, alone)
    steps = histogram_steps(tmp_path / "events")
    assert steps
    assert all(tag.startswith("mean/") for tag in steps)


def test_only_the_leading_rank_writes(tmp_path: Path, digits: Dataset) -> None:
    follower = World(1, 2, torch.device("cpu"))
    state = TrainState(approximation(RECIPE, digits, follower))
    record = Recorder(Run(tmp_path), RECIPE, digits, initial_network(RECIPE, digits), state, follower)
    record(Step(32, 32, 0, epoch_ended=True, loss=1.0, data=1.0, kl=1.0, accuracy=0.5))
    assert not list(tmp_path.iterdir())


def test_a_run_started_over_has_no_events_of_the_one_before(tmp_path: Path) -> None:
    EventWriter(tmp_path / "events", None)
    Run(tmp_path).clear()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_the_callers_to_hear_of(tmp_path: Path) -> None:
    events = EventWriter(tmp_path, None)
    events.path = Path("/dev/full")
    with pytest.raises(RunError, match=r"cannot write the events of the run in .*: No space left on device"):
        events.scalars(1, {"loss": 0.5})


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events").touch()
    with pytest.raises(RunError, match="cannot write the events of the run in"):
        EventWriter(tmp_path / "events", None)
