from typing import get_args

from prometheus_client.parser import text_string_to_metric_families

from shared.telemetry.metrics import METRICS, MetricName, MetricRegistry, ServiceMetrics


def record_everything(metrics: ServiceMetrics) -> None:
    metrics.http_request("GET", "/tickets/{id}", 200, 0.004)
    metrics.journal_appended(3)
    metrics.group_committed(12)
    metrics.outbox_length(7)
    metrics.relay_sent("ticket.created", 5)
    metrics.consumed("ticket.created", 5)
    metrics.consumer_lag("ticket.created", 2, 9)
    metrics.projected(0.02)
    metrics.quarantined("ticket.created", "schema")
    metrics.timer_fired("response", 0.4)
    metrics.delivery("mail", "delivered")
    metrics.client_abandoned("reader")
    metrics.standstill(12)
    metrics.http_connections(3)
    metrics.http_refused("crowded")


def samples(registry: MetricRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("service", "")): sample.value
        for family in text_string_to_metric_families(registry.exposition().decode())
        for sample in family.samples
        if sample.name.startswith("desk_") and not sample.name.endswith("_created")
    }


def test_the_table_and_the_names_are_one_list() -> None:
    assert set(METRICS) == set(get_args(MetricName))
    for name, metric in METRICS.items():
        assert name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert metric.meaning


def test_every_metric_of_the_table_can_be_recorded_and_is_exposed() -> None:
    registry = MetricRegistry()
    record_everything(registry.for_service("intake"))
    exposed = {name for name, service in samples(registry) if service == "intake"}
    for name, metric in METRICS.items():
        assert (f"{name}_count" if metric.kind == "histogram" else name) in exposed


def test_services_of_one_process_share_a_registry_and_not_their_numbers() -> None:
    registry = MetricRegistry()
    intake, sla = registry.for_service("intake"), registry.for_service("sla")
    intake.journal_appended(3)
    intake.journal_appended(4)
    sla.journal_appended(1)
    found = samples(registry)
    assert found["desk_journal_events_total", "intake"] == 7
    assert found["desk_journal_events_total", "sla"] == 1


def test_two_registries_do_not_meet() -> None:
    first, second = MetricRegistry(), MetricRegistry()
    first.for_service("intake").outbox_length(7)
    assert ("desk_outbox_rows", "intake") not in samples(second)


def test_the_lag_of_a_partition_given_up_is_not_reported_on() -> None:
    registry = MetricRegistry()
    metrics = registry.for_service("sla")
    metrics.consumer_lag("ticket.created", 2, 9)
    metrics.forget_lag("ticket.created", 2)
    metrics.forget_lag("ticket.created", 3)
    assert ("desk_consumer_lag_records", "sla") not in samples(registry)
    metrics.consumer_lag("ticket.created", 2, 4)
    assert samples(registry)["desk_consumer_lag_records", "sla"] == 4


def test_of_one_service_nothing_is_shown_of_the_others() -> None:
    registry = MetricRegistry()
    for name in ("intake", "sla"):
        registry.for_service(name).outbox_length(3)
    shown = registry.exposition("intake").decode()
    assert 'desk_outbox_rows{service="intake"} 3.0' in shown
    assert "process_" in shown
    assert 'service="sla"' not in shown
    assert 'service="sla"' in registry.exposition().decode()
