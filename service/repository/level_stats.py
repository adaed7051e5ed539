"""Collect the statistics of one level for `GET /metrics` and `GET /status`.

They end with their level, so a version that is removed leaves no series behind. Only the event loop writes them, except
for `batch_sizes`, which the scheduler guards. `live` has what labels say that came later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from model_store.manifest import Level, Manifest
from service.inference.decision import ImageResult
from service.live_quality import LiveQuality
from service.stats import DRAWS, IMAGES, NATS, SECONDS, SHARES, STAGES, DriftMonitor, Histogram, RequestOutcome


class LevelStats:
    """Counts and histograms of one level."""

    def __init__(self, manifest: Manifest, level: Level) -> None:
        self.requests: Counter[RequestOutcome] = Counter()
        self.degraded = 0
        self.stages = {stage: Histogram(SECONDS) for stage in STAGES}
        self.batch_sizes = Histogram(IMAGES)
        self.draws = Histogram(DRAWS)
        # By decision and reason to abstain.
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.confidence, self.entropy, self.mutual_information = Histogram(SHARES), Histogram(NATS), Histogram(NATS)
        self.drift = DriftMonitor(level.reference, len(manifest.classes))
        self.live = LiveQuality(level.calibration.images)

    def record(self, results: Sequence[ImageResult]) -> None:
        """Add the images of one answer."""
        for each in results:
            self.decisions[each.decision, each.reason or ""] += 1
            self.draws.record(each.draws)
            self.confidence.record(each.confidence)
            self.drift.confidence.record(each.first.confidence)
            self.entropy.record(each.total)
            self.drift.entropy.record(each.first.entropy)
            if each.draws > 1:  # the mutual information of a single draw is zero by definition
                self.mutual_information.record(each.epistemic)
                self.drift.mutual_information.record(each.first.mutual_information)

    @property
    def answered(self) -> int:
        """Return the number of images answered."""
        return sum(list(self.decisions.values()))

    @property
    def abstained(self) -> int:
        """Return the number of images abstained on."""
        return sum(count for (decision, _), count in list(self.decisions.items()) if decision == "abstain")
