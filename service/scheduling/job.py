"""One request's images on their way through the scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from service.inference.early_stopping import CHECKPOINTS, EarlyStopping
from service.inference.engine import Engine
from service.types import FloatArray, StopReason

# Draws between which others have their turn, and a deadline or a client that left is noticed.
MOST_AT_ONCE = 16
# A job counts as come later by so many times the seconds that it takes.
YIELD = 4.0
# Makes what a job is for out of logits float32 [S, N, K] of some of its images, of each one thing, and why drawing
# stopped.
Conclude = Callable[[FloatArray, StopReason], Sequence[object]]


@dataclass(eq=False)
class Job:
    """Images uint8 [N, H, W, C] for one engine: at most `samples` draws each, fewer where `settlement` says so.

    Fewer, too, where there was no time to make so many: `draws` is how many the engine had when the job came.
    `deadline` is in seconds of `time.monotonic`, and all threads should compute for it `seconds`, where that is known.
    The future's result is what `conclude` made of each image, in order.
    """

    engine: Engine
    images_NHWC: npt.NDArray[np.uint8]
    samples: int
    conclude: Conclude
    settlement: EarlyStopping | None = None
    deadline: float | None = None
    seconds: float = 0.0
    future: Future[list[Any]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    started: float | None = None
    finished: float | None = None
    # Seconds in which all threads computed for it, about.
    had: float = 0.0
    # Whether it had fewer draws than it wanted, for want of time.
    cut: bool = False

    def __post_init__(self) -> None:
        self._results: list[object] = [None] * len(self.images_NHWC)
        self._left = len(self.images_NHWC)
        self.draws = min(self.samples, self.engine.bank.draws)

    @property
    def turn(self) -> float:
        """Whose is the smallest, is next."""
        return self.arrived + YIELD * max(self.seconds, self.had)

    @property
    def queue(self) -> float:
        """Milliseconds in which it waited for its turn."""
        return 1000 * ((self.started or self.arrived) - self.arrived)

    @property
    def inference(self) -> float:
        """Milliseconds from its turn to its last answer."""
        return 1000 * ((self.finished or self.arrived) - (self.started or self.arrived))

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more, or it failed."""
        return self.future.done()

    def late(self, seconds: float = 0.0) -> bool:
        """Whether the deadline will have passed in so many seconds."""
        return self.deadline is not None and time.monotonic() + seconds > self.deadline

    def fail(self, error: Exception) -> None:
        """No answer, for this reason."""
        if not self.over and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def put(self, index: int, result: object) -> None:
        """One image is answered; the caller sees to it that no two are at once."""
        self._results[index] = result
        self._left -= 1
        if self._left == 0 and not self.over and self.future.set_running_or_notify_cancel():
            self.finished = time.monotonic()
            self.future.set_result(self._results)


@dataclass(eq=False)
class Image:
    """One image of a job, and what is known of it so far."""

    job: Job
    index: int
    features: Sequence[FloatArray] = ()
    # float32 [S, K], of the draws so far.
    logits_SK: FloatArray | None = None

    @property
    def drawn(self) -> int:
        """Draws so far."""
        return 0 if self.logits_SK is None else len(self.logits_SK)

    def extend(self, logits_SK: FloatArray) -> None:
        """Add draws."""
        self.logits_SK = logits_SK if self.logits_SK is None else np.concatenate((self.logits_SK, logits_SK))

    @property
    def until(self) -> int:
        """Draws after which it is looked at again."""
        most = self.job.draws
        if self.job.settlement is None:
            return min(most, self.drawn + MOST_AT_ONCE)
        return next((block for block in CHECKPOINTS if self.drawn < block < most), most)

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """uint8 [H, W, C]."""
        pixels_HWC: npt.NDArray[np.uint8] = self.job.images_NHWC[self.index]
        return pixels_HWC


def stop_reasons(images: Sequence[Image], pace: float) -> dict[Image, StopReason]:
    """Of images under equally many draws, those that need no more, and why; a draw takes all of them `pace` seconds."""
    stops: dict[Image, StopReason] = {}
    asked: dict[EarlyStopping, list[Image]] = {}
    for image in images:
        job, drawn = image.job, image.drawn
        if drawn >= job.draws:
            stops[image] = "samples" if job.draws == job.samples else "deadline"
        elif job.late(pace * (image.until - drawn)):
            stops[image] = "deadline"
        elif job.settlement is not None and drawn in CHECKPOINTS:
            asked.setdefault(job.settlement, []).append(image)
    for settlement, some in asked.items():
        settled_N = settlement.settled(logits_of(some))
        stops |= {image: "settled" for image, settled in zip(some, settled_N.tolist(), strict=True) if settled}
    return stops


def logits_of(images: Sequence[Image], draws: int | None = None) -> FloatArray:
    """float32 [S, N, K] of images under equally many draws, the first so many of them."""
    return np.stack([image.logits_SK[:draws] for image in images if image.logits_SK is not None], 1)
