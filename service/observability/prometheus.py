"""Collect the Prometheus metrics of one service when they are scraped.

Nothing is counted here: counts are in `service.observability.request_stats` and in the statistics of each level, and
gauges are read at their source. So a request pays for a few additions only, and the series of a level end with it.
Label values of models, versions and levels come from the store, never from a client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from service.live_quality import Estimate, LiveQuality
from service.observability.log_writer import dropped_lines
from service.observability.request_stats import RequestStats
from service.repository.level import LoadedLevel
from service.repository.repository import ModelRepository
from service.stats import Histogram, RequestOutcome

Labels = tuple[str, ...]
Family = type[CounterMetricFamily] | type[GaugeMetricFamily]
LEVEL: Labels = ("model", "version", "level")


class ServiceCollector(Collector):
    """Metrics of one service, in a registry of its own; safe to collect from any thread."""

    def __init__(
        self,
        repository: ModelRepository,
        stats: RequestStats,
        ready: Callable[[], bool],
        process_bytes: Callable[[], int],
    ) -> None:
        self.repository, self.stats, self.ready, self.process_bytes = repository, stats, ready, process_bytes
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every family with its current values."""
        levels = [(_labels(level), level) for level in self.repository.levels()]
        yield from self._service()
        yield from self._memory()
        yield from self._requests([(names, level) for names, level in levels if level.stats.requests])
        yield from _predictions([(names, level) for names, level in levels if level.stats.decisions])
        yield from _live([(names, level.stats.live) for names, level in levels if level.stats.live.labels])
        yield from _banks([(names, level) for names, level in levels if level.builds])

    def _service(self) -> Iterator[Metric]:
        admission = self.repository.runtime.admission
        reachable, step = self.repository.unavailable_reason is None, admission.degradation_step
        yield InfoMetricFamily("slimbayes_build", "Version of the service.", value={"version": version("slimbayes")})
        for name, help_text, value in (
            ("slimbayes_ready", "1 if a model can answer.", self.ready()),
            ("slimbayes_store_reachable", "1 if the store could be read at the last attempt.", reachable),
            ("slimbayes_queue_draws", "Waiting work, in images x draws.", admission.waiting),
            ("slimbayes_queue_capacity_draws", "Most work that may wait, in images x draws.", admission.limit),
            ("slimbayes_queue_wait_seconds", "Predicted wait of a request that arrives now.", admission.wait_s),
            ("slimbayes_degradation_step", "Degradation step of the latest waiting request; 0 is none.", step),
        ):
            yield GaugeMetricFamily(name, help_text, value=value)
        models = self.repository.models.values()
        yield _samples(
            GaugeMetricFamily,
            "slimbayes_model_problem",
            "1 for a model that does not answer, or not with the version that production points to.",
            ("model",),
            [((model.name,), float(model.problem is not None)) for model in models],
        )
        yield _samples(
            GaugeMetricFamily,
            "slimbayes_model_held_back",
            "1 for a model whose newest version does not answer by default, since it has other classes.",
            ("model",),
            [((model.name,), float(model.held_back is not None)) for model in models],
        )
        yield CounterMetricFamily(
            "slimbayes_log_lines_dropped", "Log lines that could not be written.", value=dropped_lines()
        )

    def _memory(self) -> Iterator[Metric]:
        runtime = self.repository.runtime
        used: dict[str, int] = {
            "process": self.process_bytes(),
            "networks": runtime.memory.used,
            **{part: nbytes for part, nbytes in runtime.request_memory.used.items()},
        }
        limits = {"networks": runtime.memory.limit or 0, "requests": runtime.request_memory.capacity}
        for name, help_text, parts in (
            (
                "slimbayes_memory_bytes",
                "Memory in use: the process itself, networks, and bodies, pictures and answers of requests.",
                used,
            ),
            ("slimbayes_memory_limit_bytes", "Memory for networks and for requests; 0 is no limit.", limits),
        ):
            yield _samples(GaugeMetricFamily, name, help_text, ("part",), [((part,), n) for part, n in parts.items()])

    def _requests(self, levels: list[tuple[Labels, LoadedLevel]]) -> Iterator[Metric]:
        ended = [(("", "", ""), self.stats.requests), *((names, level.stats.requests) for names, level in levels)]
        yield _samples(
            CounterMetricFamily,
            "slimbayes_requests",
            "Requests by outcome; those that never reached a level have none.",
            (*RequestOutcome._fields, *LEVEL),
            [((*ending, *names), count) for names, requests in ended for ending, count in list(requests.items())],
        )
        yield _histogram(
            "slimbayes_request_seconds",
            "Time from first byte to end of the response, of answered requests.",
            ("route",),
            [((route,), seconds) for route, seconds in list(self.stats.seconds.items())],
        )
        yield _histogram(
            "slimbayes_stage_seconds",
            "Parts of a request for predictions: read, decode, queue, inference.",
            ("stage", *LEVEL),
            [((stage, *names), each) for names, level in levels for stage, each in level.stats.stages.items()],
        )


def _predictions(levels: list[tuple[Labels, LoadedLevel]]) -> Iterator[Metric]:
    degraded = [(names, level.stats.degraded) for names, level in levels]
    help_text = "Answers degraded under overload."
    yield _samples(CounterMetricFamily, "slimbayes_degraded_requests", help_text, LEVEL, degraded)
    yield _samples(
        CounterMetricFamily,
        "slimbayes_images",
        "Images answered, by decision and reason to abstain.",
        ("decision", "reason", *LEVEL),
        [((*each, *names), count) for names, level in levels for each, count in list(level.stats.decisions.items())],
    )
    for name, help_text, attribute in (
        ("slimbayes_batch_images", "Images in one pass of networks.", "batch_sizes"),
        ("slimbayes_image_draws", "Draws of an image.", "draws"),
        ("slimbayes_confidence", "Probability of the top class.", "confidence"),
        ("slimbayes_entropy_nats", "Predictive entropy.", "entropy"),
        ("slimbayes_mutual_information_nats", "Mutual information of label and weights.", "mutual_information"),
    ):
        yield _histogram(name, help_text, LEVEL, [(names, getattr(level.stats, attribute)) for names, level in levels])
    indices = [
        ((statistic, *names), window.index())
        for names, level in levels
        for statistic, window in level.stats.drift.windows().items()
    ]
    yield _samples(
        GaugeMetricFamily,
        "slimbayes_drift",
        "Population stability index of the latest predictions against the test set.",
        ("statistic", *LEVEL),
        [(labels, index) for labels, index in indices if index is not None],
    )


def _live(levels: list[tuple[Labels, LiveQuality]]) -> Iterator[Metric]:
    """Yield what labels say that clients sent: figures with the ends of their intervals."""
    counts = [(names, live.labels) for names, live in levels]
    yield _samples(CounterMetricFamily, "slimbayes_feedback_labels", "Labels sent to /feedback.", LEVEL, counts)
    accuracies = [
        ((among, *names), estimate)
        for names, live in levels
        for among, estimate in (("all", live.accuracy), ("accepted", live.accepted_accuracy))
    ]
    help_text = "Share of right answers among the latest labelled images, with its 95 % interval."
    yield _estimates("slimbayes_live_accuracy", help_text, ("among",), accuracies)
    errors = [(names, live.ece) for names, live in levels]
    help_text = "Expected calibration error of the latest labelled images, with its 95 % interval."
    yield _estimates("slimbayes_live_ece", help_text, (), errors)
    covered = [(names, alpha, live, each) for names, live in levels for alpha, each in live.coverage.items()]
    help_text = "Share of the latest prediction sets that hold the label, with its 95 % interval."
    rows = [((f"{alpha:g}", *names), each) for names, alpha, _, each in covered]
    yield _estimates("slimbayes_live_coverage", help_text, ("alpha",), rows)
    yield _samples(
        GaugeMetricFamily,
        "slimbayes_live_coverage_p_value",
        "Probability that so few prediction sets hold the label by chance.",
        ("alpha", *LEVEL),
        [((f"{alpha:g}", *names), live.coverage_p_value(alpha, each)) for names, alpha, live, each in covered],
    )


def _estimates(name: str, help_text: str, own: Labels, rows: Iterable[tuple[Labels, Estimate | None]]) -> Metric:
    """Render each estimate as three samples: `bound` is value, low or high."""
    samples = [
        ((bound, *labels), getattr(estimate, bound))
        for labels, estimate in rows
        if estimate is not None
        for bound in ("value", "low", "high")
    ]
    return _samples(GaugeMetricFamily, name, help_text, ("bound", *own, *LEVEL), samples)


def _banks(levels: list[tuple[Labels, LoadedLevel]]) -> Iterator[Metric]:
    families: tuple[tuple[Family, str, str, str], ...] = (
        (GaugeMetricFamily, "slimbayes_bank_bytes", "Memory of networks, until requests use them no more.", "nbytes"),
        (CounterMetricFamily, "slimbayes_bank_builds", "Builds of networks.", "builds"),
        (CounterMetricFamily, "slimbayes_bank_build_seconds", "Time spent building networks.", "build_seconds"),
    )
    for family, name, help_text, attribute in families:
        yield _samples(family, name, help_text, LEVEL, [(names, getattr(level, attribute)) for names, level in levels])


def _labels(level: LoadedLevel) -> Labels:
    return level.manifest.model, level.manifest.version, level.level.name


def _samples(kind: Family, name: str, help_text: str, labels: Labels, rows: Iterable[tuple[Labels, float]]) -> Metric:
    family = kind(name, help_text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _histogram(name: str, help_text: str, labels: Labels, rows: Iterable[tuple[Labels, Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, help_text, labels=labels)
    for values, histogram in rows:
        bounds = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(list(histogram.counts)), strict=True))
        family.add_metric(values, buckets, histogram.sum)
    return family
