"""Remember the latest answers for labels that come later: a few numbers of each image, and nothing of the picture.

An answer is found by the client that asked and the id of its request. An id that a client uses again stands for its
latest request.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import NotFoundError, ParameterError, RepeatedError
from service.inference.decision import ImageResult
from service.live_quality import AnsweredImage
from service.repository.level_stats import LevelStats

# Longer ids are not remembered: what an answer takes has a bound.
MAX_ID_CHARS = 256


@dataclass(frozen=True)
class Answered:
    """Images of one answer, None for those whose label was given; what counts them, and the names of the classes."""

    images: list[AnsweredImage | None]
    stats: LevelStats
    classes: tuple[str, ...]


class FeedbackMemory:
    """The latest answers, of at most `capacity` images together; only the event loop uses it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.images = 0
        # By client and request, the oldest first.
        self._answers: OrderedDict[tuple[str, str], Answered] = OrderedDict()

    def remember(
        self,
        client: str,
        request_id: str,
        results: Sequence[ImageResult],
        alpha: float,
        stats: LevelStats,
        classes: tuple[str, ...],
    ) -> None:
        """Keep what was answered; forget the oldest answers beyond the capacity, and a larger one at once."""
        images = list[AnsweredImage | None]()
        for each in results:
            assert each.classes is not None
            top, bits = each.classes
            accepted = each.decision == "accept"
            images.append(AnsweredImage(top, each.confidence, accepted, None if bits is None else alpha, bits or 0))
        self._forget((client, request_id))
        self._answers[client, request_id] = Answered(images, stats, classes)
        self.images += len(images)
        while self.images > self.capacity:
            self._forget(next(iter(self._answers)))

    def label(self, client: str, request_id: str, image: int, label: str) -> None:
        """Count the label of one image.

        Raises NotFoundError for an answer or image that is not remembered, RepeatedError for a second label, and
        ParameterError for a label that is no class.
        """
        answered = self._answers.get((client, request_id))
        if answered is None:
            raise NotFoundError(
                f"no answer to request {request_id!r} of this client is remembered: there was none, or more than "
                f"{self.capacity:,} images were answered since"
            )
        if not 0 <= image < len(answered.images):
            raise NotFoundError(f"request {request_id!r} had {len(answered.images)} images: there is no image {image}")
        if label not in answered.classes:
            shown = ", ".join(answered.classes[:10]) + (" …" if len(answered.classes) > 10 else "")
            raise ParameterError(f"label {label[:80]!r} is no class of the model: expected one of {shown}")
        found = answered.images[image]
        if found is None:
            raise RepeatedError(f"image {image} of request {request_id!r} has a label already: the first one counts")
        answered.images[image] = None
        answered.stats.live.record(found, answered.classes.index(label))

    def _forget(self, key: tuple[str, str]) -> None:
        forgotten = self._answers.pop(key, None)
        if forgotten is not None:
            self.images -= len(forgotten.images)
