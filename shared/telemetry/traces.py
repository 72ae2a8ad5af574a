"""Spans: what each service did in a journey, and how long it took. See docs/tracing.md.

The position in a trace travels in the events, so it is given to each function here and never looked
for in the running task. Off, and then nearly free, unless the OTEL_* variables ask for an exporter.
"""

import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from shared.errors import StartupError
from shared.telemetry.context import TraceContext
from shared.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SAMPLED_ENDS: Final = frozenset("13579bdf")
_LINKS_MAX: Final = 128  # what the SDK keeps, unless told otherwise
_END_SECONDS: Final = 2.0


class _Traced(msgspec.Struct):
    """What of an event's bytes says where in a trace it was written."""

    traceparent: str | None = None


_read: Final = msgspec.json.Decoder(_Traced).decode
_tracer_of: Callable[[str], Tracer] | None = None


def is_tracing() -> bool:
    """Say whether any spans are recorded."""
    return _tracer_of is not None


@contextmanager
def tracing(instance: str, processor: "SpanProcessor | None" = None) -> Generator[None]:
    """Record spans meanwhile, if the environment asks for it or a `processor` is given.

    `instance` names the replica. Raises: StartupError when what is asked for cannot be had.
    """
    global _tracer_of  # noqa: PLW0603 like logging, of the process and not of a service
    processor = processor or _exporting()
    if processor is None:
        yield
        return
    _tracer_of = _tracers(instance, processor)
    try:
        yield
    finally:
        _tracer_of = None
        ending = threading.Thread(target=processor.shutdown, daemon=True)
        ending.start()
        ending.join(_END_SECONDS)  # a collector that is away must not hold up a stop


def _exporting() -> "SpanProcessor | None":
    """Return what exports by OTLP over HTTP, None unless the environment names where to."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    exporter = os.environ.get("OTEL_TRACES_EXPORTER") or (
        "otlp" if any(os.environ.get(name) for name in _ENDPOINTS) else "none"
    )
    if exporter == "none":
        return None
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), None)
    if exporter != "otlp" or protocol not in {None, "http/protobuf"}:
        raise StartupError("traces are exported by OTEL_TRACES_EXPORTER=otlp over http/protobuf")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as missing:
        raise StartupError("traces need the extra: deskledger[traces]") from missing
    return BatchSpanProcessor(OTLPSpanExporter())


def _tracers(instance: str, processor: "SpanProcessor") -> Callable[[str], Tracer]:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from shared.telemetry.sampling import Linked

    made: dict[str, Tracer] = {}

    def tracer_of(service: str) -> Tracer:
        if service not in made:
            facts = {
                "service.name": os.environ.get("OTEL_SERVICE_NAME") or service,
                "service.namespace": "deskledger",
                "service.version": VERSION,
                "service.instance.id": instance,
            }
            provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
            provider.sampler = Linked(provider.sampler)
            provider.add_span_processor(processor)
            made[service] = provider.get_tracer("deskledger", VERSION)
        return made[service]

    return tracer_of


def traceparent_of(span: Span) -> str:
    """Return the header that names a span as the parent of what follows."""
    context = span.get_span_context()
    return TraceContext(
        f"{context.trace_id:032x}", f"{context.span_id:016x}", f"{context.trace_flags:02x}"
    ).traceparent


def traceparent_in(value: bytes) -> str | None:
    """Return where in a trace an event was written, from its bytes; None if they do not say."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        return _read(value).traceparent
    return None


def request_span(service: str, method: str, traceparent: str | None) -> Span | None:
    """Start the span of an HTTP request; None when there is no tracing. `end_request` ends it."""
    if _tracer_of is None:
        return None
    above = TraceContext.parse(traceparent)
    context = None if above is None else _below(_remote(above))
    return _tracer_of(service).start_span(
        method, context, SpanKind.SERVER, {"http.request.method": method}
    )


def end_request(span: Span, method: str, route: str, status: int) -> None:
    """End the span of a request. The path is left out: ids in it may name people."""
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.route": route, "http.response.status_code": status})
    if status >= 500:
        span.set_status(StatusCode.ERROR)
    span.end()


def append_span(
    writer: str, traceparent: str | None, types: Sequence[str], causation_id: str | None
) -> Span | None:
    """Start the span of a decision that is being written; None where its cause is not sampled."""
    above = _sampled(traceparent) if _tracer_of is not None else None
    if _tracer_of is None or above is None:
        return None
    attributes: dict[str, str | list[str]] = {
        "messaging.operation.type": "create",
        "messaging.destination.name": types[0],
        "desk.event.types": list(types),
    }
    if causation_id is not None:
        attributes["desk.causation_id"] = causation_id
    return _tracer_of(writer).start_span(
        f"append {types[0]}", _below(above), SpanKind.PRODUCER, attributes
    )


@contextmanager
def batch_span(
    service: str, operation: Literal["send", "process"], messages: Iterable[tuple[str, str | None]]
) -> Generator[None]:
    """Record the handling of a batch: one span, linked to where each message was written.

    `messages` are topics and traceparents, looked at only while there is tracing. A batch of one
    trace is a part of that trace; one of several is the root of its own. Source: OpenTelemetry's
    semantic conventions for messaging spans, "batch receiving" and "batch sending".
    """
    if _tracer_of is None:
        yield
        return
    count, topics, contexts = 0, set[str](), list[SpanContext]()
    for topic, traceparent in messages:
        count += 1
        if (context := _sampled(traceparent)) is not None and len(contexts) < _LINKS_MAX:
            topics.add(topic)
            contexts.append(context)
    if not contexts:
        yield
        return
    is_one_trace = len({context.trace_id for context in contexts}) == 1
    where = f" {min(topics)}" if len(topics) == 1 else ""
    span = _tracer_of(service).start_span(
        f"{operation}{where}",
        _below(contexts[0]) if is_one_trace else Context(),
        SpanKind.CONSUMER if operation == "process" else SpanKind.CLIENT,
        {
            "messaging.system": "desk_log",
            "messaging.operation.type": operation,
            "messaging.batch.message_count": count,
        },
        [Link(context) for context in contexts],
    )
    with _ending(span):
        yield


@contextmanager
def delivery_span(service: str, body: bytes) -> Generator[dict[str, str]]:
    """Record an attempt to deliver an event; yield the headers that hand its trace on."""
    traceparent = traceparent_in(body)
    above = _sampled(traceparent) if _tracer_of is not None else None
    if _tracer_of is None or above is None:
        position = TraceContext.parse(traceparent)
        yield {} if position is None else {"traceparent": position.traceparent}
        return
    span = _tracer_of(service).start_span(
        "POST", _below(above), SpanKind.CLIENT, {"http.request.method": "POST"}
    )
    with _ending(span):
        yield {"traceparent": traceparent_of(span)}


@contextmanager
def _ending(span: Span) -> Generator[None]:
    """End the span, as failed if what it covers is; what an error says may tell of people."""
    try:
        yield
    except BaseException as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(StatusCode.ERROR)
        raise
    finally:
        span.end()


def _sampled(traceparent: str | None) -> SpanContext | None:
    """Return the position if it is one whose trace is being recorded."""
    if traceparent is None or traceparent[-1:] not in _SAMPLED_ENDS:
        return None
    position = TraceContext.parse(traceparent)
    return None if position is None else _remote(position)


def _remote(position: TraceContext) -> SpanContext:
    return SpanContext(
        int(position.trace_id, 16),
        int(position.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(position.flags, 16)),
    )


def _below(parent: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(parent), Context())
