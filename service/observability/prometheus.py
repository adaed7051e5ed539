"""What Prometheus reads of one service, put together when it asks.

Nothing is counted here: requests leave their traces in `service.observability.request_stats` and in the record
of their level, and what a
gauge shows is read where it is true. So a request pays for a few additions only, and a level that is no longer served
takes its series with it. Names of models, versions and levels are those of the store, never a client's.
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

from service.observability.request_stats import RequestStats
from service.repository.level import LoadedLevel
from service.repository.repository import ModelRepository
from service.scheduling.admission import Admission
from service.stats import Histogram, RequestOutcome

Labels = tuple[str, ...]
LEVEL: Labels = ("model", "version", "level")


class ServiceCollector(Collector):
    """The metrics of one service, in a registry of its own; safe to collect from any thread."""

    def __init__(
        self, catalog: ModelRepository, admission: Admission, traffic: RequestStats, ready: Callable[[], bool]
    ) -> None:
        self.catalog, self.admission, self.traffic = catalog, admission, traffic
        self.ready = ready
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        """Every family, as it is now."""
        levels = [(_names(served), served) for served in self.catalog.served()]
        yield from self._service()
        yield from self._requests([(names, served) for names, served in levels if served.record.requests])
        yield from _predictions([(names, served) for names, served in levels if served.record.decisions])
        yield from _banks([(names, served) for names, served in levels if served.builds])

    def _service(self) -> Iterator[Metric]:
        """What there is one of."""
        yield InfoMetricFamily("slimbayes_build", "What runs here.", value={"version": version("slimbayes")})
        for name, help_text, value in (
            ("slimbayes_ready", "1 where a model can answer.", self.ready()),
            (
                "slimbayes_store_reachable",
                "1 where the store answered when it was looked at last.",
                not self.catalog.away,
            ),
            ("slimbayes_queue_draws", "Work that is waited for, in images x draws.", self.admission.waiting),
            ("slimbayes_queue_capacity_draws", "Most work that may wait, in images x draws.", self.admission.limit),
            ("slimbayes_queue_wait_seconds", "How long a request that comes now should wait.", self.admission.wait),
            (
                "slimbayes_degradation_step",
                "How many steps the latest of what waits is degraded; 0 is not at all.",
                self.admission.degraded,
            ),
            ("slimbayes_bank_limit_bytes", "Memory for networks; 0 is no limit.", self.catalog.memory.limit or 0),
        ):
            yield GaugeMetricFamily(name, help_text, value=value)

    def _requests(self, levels: list[tuple[Labels, LoadedLevel]]) -> Iterator[Metric]:
        """How requests ended, and what took how long."""
        ended = [(("", "", ""), self.traffic.requests), *((names, served.record.requests) for names, served in levels)]
        yield _counter(
            "slimbayes_requests",
            "Requests by how they ended; those that never got as far as a level have none.",
            (*RequestOutcome._fields, *LEVEL),
            [((*ending, *names), count) for names, requests in ended for ending, count in list(requests.items())],
        )
        yield _histogram(
            "slimbayes_request_seconds",
            "From a request's first byte to its answer's last, of those that were answered.",
            ("route",),
            [((route,), seconds) for route, seconds in list(self.traffic.seconds.items())],
        )
        yield _histogram(
            "slimbayes_stage_seconds",
            "Parts of a request for predictions: read, decode, queue, inference.",
            ("stage", *LEVEL),
            [((stage, *names), each) for names, served in levels for stage, each in served.record.stages.items()],
        )


def _predictions(levels: list[tuple[Labels, LoadedLevel]]) -> Iterator[Metric]:
    """What was answered, and how sure it was."""
    yield _counter(
        "slimbayes_degraded_requests",
        "Answers with less than was asked for, because of overload.",
        LEVEL,
        [(names, served.record.degraded) for names, served in levels],
    )
    yield _counter(
        "slimbayes_images",
        "Images answered, by decision, and why it was not to accept.",
        ("decision", "reason", *LEVEL),
        [((*each, *names), count) for names, served in levels for each, count in list(served.record.decisions.items())],
    )
    for name, help_text, attribute in (
        ("slimbayes_batch_images", "Images in one pass of networks.", "batches"),
        ("slimbayes_image_draws", "Draws that an image took.", "draws"),
        ("slimbayes_confidence", "Probability of the top class.", "confidence"),
        ("slimbayes_entropy_nats", "Predictive entropy.", "entropy"),
        ("slimbayes_mutual_information_nats", "Mutual information of label and weights.", "mutual_information"),
    ):
        yield _histogram(
            name, help_text, LEVEL, [(names, getattr(served.record, attribute)) for names, served in levels]
        )
    indices = [
        ((statistic, *names), window.index())
        for names, served in levels
        for statistic, window in served.record.drift.windows().items()
    ]
    yield _gauge(
        "slimbayes_drift",
        "Population stability index of the latest predictions against the test set.",
        ("statistic", *LEVEL),
        [(labels, index) for labels, index in indices if index is not None],
    )


def _banks(levels: list[tuple[Labels, LoadedLevel]]) -> Iterator[Metric]:
    """What networks take, and took."""
    yield _gauge(
        "slimbayes_bank_bytes",
        "Memory that networks take, about.",
        LEVEL,
        [(names, served.nbytes) for names, served in levels],
    )
    yield _counter(
        "slimbayes_bank_builds",
        "How often networks were built.",
        LEVEL,
        [(names, served.builds) for names, served in levels],
    )
    yield _counter(
        "slimbayes_bank_build_seconds",
        "Time in which networks were built.",
        LEVEL,
        [(names, served.build_seconds) for names, served in levels],
    )


def _names(served: LoadedLevel) -> Labels:
    return served.manifest.model, served.manifest.version, served.level.name


def _counter(name: str, help_text: str, labels: Labels, rows: Iterable[tuple[Labels, float]]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=labels)
    for values, count in rows:
        family.add_metric(values, count)
    return family


def _gauge(name: str, help_text: str, labels: Labels, rows: Iterable[tuple[Labels, float]]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
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
