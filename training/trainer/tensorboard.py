"""Event files of a run, for TensorBoard: figures and histograms over the images seen.

The format is TensorFlow's: a file of records, each an `Event` message with its length and checksums. What is logged is
on its way to the disk when the call returns, from the caller's own thread, so that nothing is left to flush or to
close and a full disk is the caller's to hear of.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import HistogramProto, Summary
from tensorboardX.record_writer import masked_crc32c
from torch import Tensor

from training.errors import RunError

HISTOGRAM_BINS = 64
FILE_VERSION = "brain.Event:2"


class EventWriter:
    """A new event file in `folder`, which is made where it is missing.

    `resumed_at` is how many images the world had seen where training went on: what earlier files hold of later steps
    is logged again, and a reader shows it once. None at the start of a run, of which nothing earlier is shown.
    Every method raises RunError where the file cannot be written.
    """

    def __init__(self, folder: Path, resumed_at: int | None) -> None:
        # Readers take the files of a folder in the order of their names.
        self.path = folder / f"events.out.tfevents.{time.time():017.6f}"
        purged_from = 0 if resumed_at is None else resumed_at + 1
        start = SessionLog(status=SessionLog.START)
        self._append(Event(file_version=FILE_VERSION), Event(step=purged_from, session_log=start))

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        """Log each figure under its name; the file keeps it as float32."""
        values = [Summary.Value(tag=name, simple_value=figure) for name, figure in figures.items()]
        self._append(Event(step=step, summary=Summary(value=values)))

    def histograms(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Log the distribution of each tensor's values, floats of any shape, finite and at least one."""
        pictures = [Summary.Value(tag=name, histo=_histogram(tensor)) for name, tensor in values.items()]
        self._append(Event(step=step, summary=Summary(value=pictures)))

    def _append(self, *events: Event) -> None:
        records = []
        for event in events:
            event.wall_time = time.time()
            records.append(_record(event.SerializeToString()))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(b"".join(records))
        except OSError as error:
            raise RunError(f"cannot write the events of the run in {self.path.parent}: {error.strerror}") from error


def _record(message: bytes) -> bytes:
    """Length, its checksum, the message, its checksum."""
    length = struct.pack("<Q", len(message))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, message)]
    return length + checksums[0] + message + checksums[1]


def _histogram(values: Tensor) -> HistogramProto:
    """Counts in equal bins between the least and the greatest value."""
    low, high = float(values.min()), float(values.max())
    wide = max(high, low + 1e-6)
    # Only upper limits are kept: an empty bin in front says where the first one begins.
    return HistogramProto(
        min=low,
        max=high,
        num=values.numel(),
        sum=float(values.sum(dtype=torch.float64)),
        sum_squares=float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2,
        bucket_limit=torch.linspace(low, wide, HISTOGRAM_BINS + 1, dtype=torch.float64).tolist(),
        bucket=[0.0, *torch.histc(values, HISTOGRAM_BINS, low, wide).tolist()],
    )
