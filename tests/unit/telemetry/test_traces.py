"""Turning traces on, batches of several traces, and what is sampled."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.errors import StartupError
from shared.telemetry import traces
from shared.telemetry.traces import append_span, batch_span, request_span, traceparent_in, tracing

ONE = f"00-{'1' * 32}-{'a' * 16}-01"
TWO = f"00-{'2' * 32}-{'b' * 16}-01"
NOT_SAMPLED = f"00-{'3' * 32}-{'c' * 16}-00"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with tracing("here", SimpleSpanProcessor(exporter)):
        yield exporter


def process(*traceparents: str | None) -> None:
    with batch_span("sla", "process", [("ticket.created", one) for one in traceparents]):
        pass


def test_a_batch_of_one_trace_is_part_of_it(spans: InMemorySpanExporter) -> None:
    process(ONE, None, NOT_SAMPLED)
    (span,) = spans.get_finished_spans()
    assert span.name == "process ticket.created"
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == "1" * 32
    assert len(span.links) == 1
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 3


def test_a_batch_of_several_traces_is_a_root_with_links_however_few_roots_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    exporter = InMemorySpanExporter()
    with tracing("here", SimpleSpanProcessor(exporter)):
        process(ONE, TWO)
    (span,) = exporter.get_finished_spans()
    assert span.parent is None
    assert [f"{link.context.trace_id:032x}" for link in span.links] == ["1" * 32, "2" * 32]


@pytest.mark.parametrize("traceparent", [None, NOT_SAMPLED, "garbage1"])
def test_what_is_not_sampled_costs_no_span(
    traceparent: str | None, spans: InMemorySpanExporter
) -> None:
    process(traceparent)
    assert append_span("sla", traceparent, ["sla.started"], None) is None
    assert spans.get_finished_spans() == ()


def test_a_batch_that_fails_says_so_without_its_words(spans: InMemorySpanExporter) -> None:
    with (
        pytest.raises(KeyError),
        batch_span("sla", "process", [("ticket.created", ONE)]),
    ):
        raise KeyError("Ann Smith")
    (span,) = spans.get_finished_spans()
    assert span.status.status_code.name == "ERROR"
    assert "Ann" not in span.to_json()


def test_the_resource_names_service_and_replica(spans: InMemorySpanExporter) -> None:
    process(ONE)
    resource = spans.get_finished_spans()[0].resource.attributes
    assert resource["service.name"] == "sla"
    assert resource["service.namespace"] == "deskledger"
    assert resource["service.instance.id"] == "here"


@pytest.mark.parametrize(
    ("environment", "is_on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
    ],
)
def test_the_environment_turns_it_on(
    environment: dict[str, str], *, is_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with tracing("here"):
        assert (traces._tracer_of is not None) == is_on
    assert request_span("intake", "GET", ONE) is None


@pytest.mark.parametrize(
    "environment", [{"OTEL_TRACES_EXPORTER": "zipkin"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}]
)
def test_an_exporter_that_is_not_there_is_refused_in_a_line(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartupError, match="http/protobuf"), tracing("here"):
        pass


def test_an_events_bytes_say_where_it_was_written() -> None:
    assert traceparent_in(b'{"data":{"traceparent":"no"},"traceparent":"yes"}') == "yes"
    assert traceparent_in(b'{"data":{"traceparent":"no"}}') is None
    assert traceparent_in(b"not json") is None
