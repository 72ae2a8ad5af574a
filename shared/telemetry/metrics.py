"""Every metric the desk exports: name, kind, labels, meaning; and the typed way to record each.

One registry per process, made in wiring and passed on. Services that share the process share the
registry and differ in label `service`. Nothing is registered at import.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest
from prometheus_client.metrics_core import Metric as Family

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
MetricName: TypeAlias = Literal[
    "desk_http_requests_total",
    "desk_http_request_seconds",
    "desk_http_connections",
    "desk_http_refused_total",
    "desk_journal_events_total",
    "desk_journal_group_size",
    "desk_outbox_rows",
    "desk_relay_records_total",
    "desk_consumer_records_total",
    "desk_consumer_lag_records",
    "desk_consumer_standstill_seconds",
    "desk_projection_batch_seconds",
    "desk_quarantine_total",
    "desk_timers_fired_total",
    "desk_timer_lateness_seconds",
    "desk_deliveries_total",
    "desk_log_clients_abandoned_total",
]

_LATENCY_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_LATENESS_SECONDS: Final = (0.1, 0.5, 1, 2, 5, 15, 60, 300, 3_600)
_SIZES: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000)


class Metric(NamedTuple):
    """What one metric is. Each has label `service` before its own; names end in their unit."""

    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


METRICS: Final[dict[MetricName, Metric]] = {
    "desk_http_requests_total": Metric(
        "counter", ("method", "route", "status"), "requests answered, by route template"
    ),
    "desk_http_request_seconds": Metric(
        "histogram",
        ("method", "route"),
        "from the first byte of a request to the last of its answer",
        _LATENCY_SECONDS,
    ),
    "desk_http_connections": Metric("gauge", (), "connections that are open"),
    "desk_http_refused_total": Metric(
        "counter", ("reason",), "requests and connections refused, or closed for being late"
    ),
    "desk_journal_events_total": Metric("counter", (), "events appended to the journal"),
    "desk_journal_group_size": Metric(
        "histogram", (), "requests that shared one group commit", _SIZES
    ),
    "desk_outbox_rows": Metric("gauge", (), "events committed and not yet acknowledged by the log"),
    "desk_relay_records_total": Metric(
        "counter", ("topic",), "records the log acknowledged; re-sends count again"
    ),
    "desk_consumer_records_total": Metric(
        "counter", ("topic",), "records read and committed; redeliveries count again"
    ),
    "desk_consumer_lag_records": Metric(
        "gauge", ("topic", "partition"), "records between the committed position and the end"
    ),
    "desk_consumer_standstill_seconds": Metric(
        "gauge", (), "for how long records have waited in the partition that waits longest"
    ),
    "desk_projection_batch_seconds": Metric(
        "histogram", (), "one consumer batch, from decoding to its commit", _LATENCY_SECONDS
    ),
    "desk_quarantine_total": Metric(
        "counter", ("topic", "reason"), "records parked because they can never be applied"
    ),
    "desk_timers_fired_total": Metric("counter", ("clock",), "timers decided"),
    "desk_timer_lateness_seconds": Metric(
        "histogram", ("clock",), "from due to decided; the grace is part of it", _LATENESS_SECONDS
    ),
    "desk_deliveries_total": Metric(
        "counter", ("channel", "outcome"), "attempts to deliver, by how they ended"
    ),
    "desk_log_clients_abandoned_total": Metric(
        "counter", ("client",), "clients of Kafka that hung and were left behind for a new one"
    ),
}

_EXPECTED_LABEL: Final = "service"


class MetricRegistry:
    """All metrics of one process."""

    content_type: Final = CONTENT_TYPE_PLAIN_1_0_0

    def __init__(self) -> None:
        """Make every metric of the table, and the process's own."""
        self._registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._counters: dict[MetricName, Counter] = {}
        self._gauges: dict[MetricName, Gauge] = {}
        self._histograms: dict[MetricName, Histogram] = {}
        for name, metric in METRICS.items():
            self._make(name, metric)

    def _make(self, name: MetricName, metric: Metric) -> None:
        labels = (_EXPECTED_LABEL, *metric.labels)
        match metric.kind:
            case "counter":
                counter = Counter(name, metric.meaning, labels, registry=self._registry)
                self._counters[name] = counter
            case "gauge":
                self._gauges[name] = Gauge(name, metric.meaning, labels, registry=self._registry)
            case "histogram":
                self._histograms[name] = Histogram(
                    name, metric.meaning, labels, registry=self._registry, buckets=metric.buckets
                )

    def counter(self, name: MetricName) -> Counter:
        """Return that counter, unlabelled."""
        return self._counters[name]

    def gauge(self, name: MetricName) -> Gauge:
        """Return that gauge, unlabelled."""
        return self._gauges[name]

    def histogram(self, name: MetricName) -> Histogram:
        """Return that histogram, unlabelled."""
        return self._histograms[name]

    def for_service(self, service: str) -> "ServiceMetrics":
        """Return the recorder of one service."""
        return ServiceMetrics(self, service)

    def exposition(self, service: str | None = None) -> bytes:
        """Return everything in Prometheus' text format, for `content_type`; or of one service.

        With a service there is also what belongs to the process.
        """
        return generate_latest(self._registry if service is None else _Part(self, service))

    def collect(self) -> Iterable[Family]:
        """Yield the families as they stand."""
        return self._registry.collect()


class _Part(CollectorRegistry):
    """What a registry has of one service."""

    def __init__(self, whole: MetricRegistry, service: str) -> None:
        super().__init__()
        self._whole = whole
        self._service = service

    def collect(self) -> Iterator[Family]:
        for family in self._whole.collect():
            part = Family(family.name, family.documentation, family.type, family.unit)
            part.samples = [
                one for one in family.samples if one.labels.get("service") in {None, self._service}
            ]
            yield part


class ServiceMetrics:
    """Records for one service. Labelled children are kept, for hot paths ask for them often."""

    def __init__(self, registry: MetricRegistry, service: str) -> None:
        """Bind `service` to every metric."""
        self.registry = registry
        self.service = service
        self._counters: dict[tuple[MetricName, tuple[str, ...]], Counter] = {}
        self._gauges: dict[tuple[MetricName, tuple[str, ...]], Gauge] = {}
        self._histograms: dict[tuple[MetricName, tuple[str, ...]], Histogram] = {}

    def _count(self, name: MetricName, amount: float, *labels: str) -> None:
        child = self._counters.get((name, labels))
        if child is None:
            child = self.registry.counter(name).labels(self.service, *labels)
            self._counters[name, labels] = child
        child.inc(amount)

    def _observe(self, name: MetricName, value: float, *labels: str) -> None:
        child = self._histograms.get((name, labels))
        if child is None:
            child = self.registry.histogram(name).labels(self.service, *labels)
            self._histograms[name, labels] = child
        child.observe(value)

    def _set(self, name: MetricName, value: float, *labels: str) -> None:
        child = self._gauges.get((name, labels))
        if child is None:
            child = self.registry.gauge(name).labels(self.service, *labels)
            self._gauges[name, labels] = child
        child.set(value)

    def http_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is the template, never the path itself."""
        self._count("desk_http_requests_total", 1, method, route, str(status))
        self._observe("desk_http_request_seconds", seconds, method, route)

    def http_connections(self, connections: int) -> None:
        """State how many connections are open."""
        self._set("desk_http_connections", connections)

    def http_refused(self, reason: str) -> None:
        """Count who was not served; `reason` is the limit that was reached."""
        self._count("desk_http_refused_total", 1, reason)

    def journal_appended(self, events: int) -> None:
        """Count events that a commit made durable."""
        self._count("desk_journal_events_total", events)

    def group_committed(self, requests: int) -> None:
        """Note how many requests shared one commit."""
        self._observe("desk_journal_group_size", requests)

    def outbox_length(self, rows: int) -> None:
        """State how many events wait for the relay."""
        self._set("desk_outbox_rows", rows)

    def relay_sent(self, topic: str, records: int) -> None:
        """Count records the log acknowledged."""
        self._count("desk_relay_records_total", records, topic)

    def consumed(self, topic: str, records: int) -> None:
        """Count records whose transaction committed."""
        self._count("desk_consumer_records_total", records, topic)

    def consumer_lag(self, topic: str, partition: int, records: int) -> None:
        """State how far behind the end the committed position is."""
        self._set("desk_consumer_lag_records", records, topic, str(partition))

    def forget_lag(self, topic: str, partition: int) -> None:
        """Drop the lag of a partition given up, which another replica reports from then on."""
        labels = (topic, str(partition))
        if self._gauges.pop(("desk_consumer_lag_records", labels), None) is not None:
            self.registry.gauge("desk_consumer_lag_records").remove(self.service, *labels)

    def standstill(self, seconds: float) -> None:
        """State for how long records have waited where they wait longest."""
        self._set("desk_consumer_standstill_seconds", seconds)

    def projected(self, seconds: float) -> None:
        """Note how long one consumer batch took."""
        self._observe("desk_projection_batch_seconds", seconds)

    def quarantined(self, topic: str, reason: str, records: int = 1) -> None:
        """Count parked records; `reason` is the short label of `UndecodableError`."""
        self._count("desk_quarantine_total", records, topic, reason)

    def timer_fired(self, clock: str, lateness_seconds: float) -> None:
        """Count a decided timer and how late the decision was."""
        self._count("desk_timers_fired_total", 1, clock)
        self._observe("desk_timer_lateness_seconds", max(lateness_seconds, 0), clock)

    def delivery(
        self, channel: str, outcome: Literal["delivered", "retried", "dead_lettered"]
    ) -> None:
        """Count an attempt to deliver."""
        self._count("desk_deliveries_total", 1, channel, outcome)

    def client_abandoned(self, client: str) -> None:
        """Count a client of the log that was left behind."""
        self._count("desk_log_clients_abandoned_total", 1, client)
