"""Hold one request's images while the scheduler draws for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from service.errors import RequestError
from service.inference.early_stopping import EarlyStopping
from service.inference.engine import Engine
from service.inference.uncertainty import Draws
from service.scheduling.admission import Work
from service.types import FloatArray, StopReason

# Draws after which other requests get a turn, and a deadline or a disconnected client is noticed.
MAX_CONSECUTIVE_DRAWS = 16
# A job's priority falls by this multiple of the seconds that it takes.
PRIORITY_WEIGHT = 4.0
# Turns logits float32 [S, N, K] of some images of a job into one result each. The draws are given where early stopping
# has summarised them already.
Conclude = Callable[[FloatArray, StopReason, Draws | None], Sequence[object]]


@dataclass(eq=False)
class Job:
    """Images uint8 [N, H, W, C] for one engine: at most `samples` draws each, fewer with `early_stopping`.

    `draws` is the number of networks that the engine had when the job arrived, where there was no time to build more.
    `deadline` is in seconds of `time.monotonic`; `work` accounts for the computation. The future's result holds what
    `conclude` made of each image, in order; with `keep_errors` the error of an image that has one, which else fails the
    job.
    """

    engine: Engine
    images_NHWC: npt.NDArray[np.uint8]
    samples: int
    conclude: Conclude
    early_stopping: EarlyStopping | None = None
    deadline: float | None = None
    work: Work = field(default_factory=Work)
    future: Future[list[Any]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    keep_errors: bool = False
    started: float | None = None
    finished: float | None = None

    def __post_init__(self) -> None:
        self._results: list[object] = [None] * len(self.images_NHWC)
        self._left = len(self.images_NHWC)
        self.draws = min(self.samples, self.engine.bank.draws)

    @property
    def priority(self) -> float:
        """Return the scheduling priority; the smallest value runs first."""
        return self.arrived + PRIORITY_WEIGHT * max(self.work.expected_s, self.work.service_time_s)

    @property
    def queue_ms(self) -> float:
        """Return the milliseconds that the job waited before its first batch."""
        return 1000 * ((self.started or self.arrived) - self.arrived)

    @property
    def inference_ms(self) -> float:
        """Return the milliseconds from the first batch to the last result."""
        return 1000 * ((self.finished or self.arrived) - (self.started or self.arrived))

    @property
    def done(self) -> bool:
        """Return whether the job finished, failed or was cancelled."""
        return self.future.done()

    def past_deadline(self, in_s: float = 0.0) -> bool:
        """Return whether the deadline will have passed `in_s` seconds from now."""
        return self.deadline is not None and time.monotonic() + in_s > self.deadline

    def fail(self, error: Exception) -> None:
        """Fail the job unless it is done."""
        if not self.done and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def refuse(self, index: int, error: RequestError) -> None:
        """Store the error of one image, or fail the job with it; the caller holds the scheduler's lock."""
        if self.keep_errors:
            self.put(index, error)
        else:
            self.fail(error)

    def put(self, index: int, result: object) -> None:
        """Store the result of one image; the caller holds the scheduler's lock."""
        self._results[index] = result
        self._left -= 1
        if self._left == 0 and not self.done and self.future.set_running_or_notify_cancel():
            self.finished = time.monotonic()
            self.future.set_result(self._results)


@dataclass(eq=False)
class Image:
    """One image of a job with its logits float32 [S, K] so far.

    `summary` holds draws of several images that early stopping has summarised, and this image's index in them.
    """

    job: Job
    index: int
    features: Sequence[FloatArray] = ()
    logits_SK: FloatArray | None = None
    summary: tuple[Draws, int] | None = None

    @property
    def drawn(self) -> int:
        """Return the number of draws so far."""
        return 0 if self.logits_SK is None else len(self.logits_SK)

    def extend(self, logits_SK: FloatArray) -> None:
        """Append draws."""
        self.logits_SK = logits_SK if self.logits_SK is None else np.concatenate((self.logits_SK, logits_SK))
        self.summary = None

    @property
    def next_checkpoint(self) -> int:
        """Return the number of draws at which to look at the image again."""
        most = self.job.draws
        if self.job.early_stopping is None:
            return min(most, self.drawn + MAX_CONSECUTIVE_DRAWS)
        tested = self.job.early_stopping.checkpoints
        return next((draws for draws in tested if self.drawn < draws < most), most)

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """Return the pixels uint8 [H, W, C]."""
        pixels_HWC: npt.NDArray[np.uint8] = self.job.images_NHWC[self.index]
        return pixels_HWC


def stop_reasons(images: Sequence[Image], seconds_per_draw: float) -> dict[Image, StopReason]:
    """Find the images, under equally many draws, that need no more, and why.

    `seconds_per_draw` is the time of one more draw of all of them.
    """
    reasons: dict[Image, StopReason] = {}
    tested: dict[EarlyStopping, list[Image]] = {}
    for image in images:
        job, drawn = image.job, image.drawn
        if drawn >= job.draws:
            reasons[image] = "samples" if job.draws == job.samples else "deadline"
        elif job.past_deadline(seconds_per_draw * (image.next_checkpoint - drawn)):
            reasons[image] = "deadline"
        elif job.early_stopping is not None and drawn in job.early_stopping.checkpoints:
            tested.setdefault(job.early_stopping, []).append(image)
    for rule, some in tested.items():
        draws = Draws.from_logits(logits_of(some), rule.temperature, rule.members)
        for index, (image, converged) in enumerate(zip(some, rule.converged(draws).tolist(), strict=True)):
            image.summary = draws, index
            if converged:
                reasons[image] = "converged"
    return reasons


def logits_of(images: Sequence[Image], draws: int | None = None) -> FloatArray:
    """Stack logits float32 [S, N, K] of images under equally many draws, the first `draws` of them."""
    return np.stack([image.logits_SK[:draws] for image in images if image.logits_SK is not None], 1)


def summary_of(images: Sequence[Image]) -> Draws | None:
    """Return the draws of these images if early stopping has summarised them together, else None."""
    found = [image.summary for image in images if image.summary is not None]
    if len(found) < len(images) or any(draws is not found[0][0] for draws, _ in found):
        return None
    return found[0][0].take([index for _, index in found])
