"""What was seen of one level since it is served: its part of `GET /metrics` and `GET /status`.

It ends with its level, so that a version that is taken away leaves nothing behind. It is written to from the event loop
alone, but for `batches`, which the scheduler guards.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from model_store.manifest import Level, Manifest
from service.inference.decision import Verdict
from service.stats import DRAWS, IMAGES, NATS, SECONDS, SHARES, STAGES, DriftMonitor, Histogram, RequestOutcome


class LevelStats:
    """Counts and histograms of one level."""

    def __init__(self, manifest: Manifest, level: Level) -> None:
        self.requests: Counter[RequestOutcome] = Counter()
        self.degraded = 0
        self.stages = {stage: Histogram(SECONDS) for stage in STAGES}
        self.batches = Histogram(IMAGES)
        self.draws = Histogram(DRAWS)
        # By decision, and why it was not to accept.
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.confidence, self.entropy, self.mutual_information = Histogram(SHARES), Histogram(NATS), Histogram(NATS)
        self.drift = DriftMonitor(level.reference, len(manifest.classes))

    def verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Add what was answered for some images."""
        for each in verdicts:
            self.decisions[each.decision, each.reason or ""] += 1
            self.draws.record(each.draws)
            if not math.isfinite(each.entropy):  # a network that overflowed says nothing
                continue
            self.confidence.record(each.confidence)
            self.drift.confidence.record(each.confidence)
            self.entropy.record(each.entropy)
            self.drift.entropy.record(each.entropy)
            if each.draws > 1:  # a single draw disagrees with nothing
                self.mutual_information.record(each.mutual_information)
                self.drift.mutual_information.record(each.mutual_information)

    @property
    def answered(self) -> int:
        """Images that were answered."""
        return sum(list(self.decisions.values()))

    @property
    def abstained(self) -> int:
        """Images of them on which the answer was to abstain."""
        return sum(count for (decision, _), count in list(self.decisions.items()) if decision == "abstain")
