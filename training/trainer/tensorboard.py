"""Write TensorBoard event files: figures and histograms over the images seen.

The format is TensorFlow's: a file of records, each an `Event` message with its length and checksums. Every call appends
to the file from the caller's own thread, so that there is nothing to flush or close, and a full disk raises there.
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
    """Writer of a new event file in `folder`, which is created if missing.

    `resumed_at` is the number of images seen where training resumed: TensorBoard drops later steps of earlier files,
    which are logged again. None starts a new run, which drops all earlier steps. Every method raises RunError where the
    file cannot be written.
    """

    def __init__(self, folder: Path, resumed_at: int | None) -> None:
        # TensorBoard reads the files of a folder in the order of their names.
        self.path = folder / f"events.out.tfevents.{time.time():017.6f}"
        purged_from = 0 if resumed_at is None else resumed_at + 1
        start = SessionLog(status=SessionLog.START)
        self._append(Event(file_version=FILE_VERSION), Event(step=purged_from, session_log=start))

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        """Log each figure under its name, as float32."""
        values = [Summary.Value(tag=name, simple_value=figure) for name, figure in figures.items()]
        self._append(Event(step=step, summary=Summary(value=values)))

    def histograms(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Log the distribution of each tensor's values: at least one finite float, of any shape."""
        values_by_name = [Summary.Value(tag=name, histo=_histogram(tensor)) for name, tensor in values.items()]
        self._append(Event(step=step, summary=Summary(value=values_by_name)))

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
    """Frame a message: its length, the length's checksum, the message, its checksum."""
    length = struct.pack("<Q", len(message))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, message)]
    return length + checksums[0] + message + checksums[1]


def _histogram(values: Tensor) -> HistogramProto:
    """Count values in equal bins between minimum and maximum."""
    low, high = float(values.min()), float(values.max())
    wide = max(high, low + 1e-6)
    # The format stores only upper limits: an empty first bin marks the lower limit of the second.
    return HistogramProto(
        min=low,
        max=high,
        num=values.numel(),
        sum=float(values.sum(dtype=torch.float64)),
        sum_squares=float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2,
        bucket_limit=torch.linspace(low, wide, HISTOGRAM_BINS + 1, dtype=torch.float64).tolist(),
        bucket=[0.0, *torch.histc(values, HISTOGRAM_BINS, low, wide).tolist()],
    )
