"""The CloudEvents 1.0 envelope of every event, structured JSON on Kafka and over HTTP (R2)."""

from datetime import datetime

import msgspec

from shared.contracts.base import ATTRIBUTE_MAX, Attribute, EventData

SEQUENCE_DIGITS = 10
_VERSION_DIGITS_MAX = 9
_SCHEMA_PREFIX = "urn:deskledger:event:"


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event as it travels. Attribute names are CloudEvents', hence without underscores.

    `time` is when it became true, `recordedtime` when the writer's journal took it; `history` marks
    what was imported from another system, to which nobody reacts.
    """

    specversion: Attribute
    id: Attribute
    source: Attribute
    type: Attribute
    time: datetime | None = None
    subject: Attribute | None = None
    datacontenttype: Attribute | None = None
    dataschema: Attribute | None = None
    recordedtime: datetime | None = None
    sequence: Attribute | None = None
    partitionkey: Attribute | None = None
    correlationid: Attribute | None = None
    causationid: Attribute | None = None
    actor: Attribute | None = None
    traceparent: Attribute | None = None
    history: bool = False
    data: msgspec.Raw = msgspec.Raw(b"null")


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where an event comes from: who did it, in which journey, caused by which event.

    `traceparent` is the span above the one that writes (W3C Trace Context).
    """

    actor: str
    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None
    history: bool = False


_encoder = msgspec.json.Encoder()


def source_of(writer: str) -> str:
    """Return the CloudEvents source of a writing service."""
    return f"/desk/{writer}"


def dataschema_of(event_type: str, version: int) -> str:
    """Return the URN that names one version of one event's schema."""
    return f"{_SCHEMA_PREFIX}{event_type}:v{version}"


def version_of(dataschema: str | None, event_type: str) -> int | None:
    """Return the version that `dataschema` names; 1 without one; None if it is not ours."""
    if dataschema is None:
        return 1
    prefix = f"{_SCHEMA_PREFIX}{event_type}:v"
    number = dataschema.removeprefix(prefix)
    is_number = number.isascii() and number.isdecimal() and len(number) <= _VERSION_DIGITS_MAX
    return int(number) if dataschema.startswith(prefix) and is_number else None


def encode_event(  # noqa: PLR0913 an envelope has this many parts, each named by its caller
    writer: str,
    data: EventData,
    *,
    sequence: int,
    event_id: str,
    time: datetime,
    recorded_at: datetime,
    lineage: Lineage,
    actor: str | None = None,
) -> bytes:
    """Return the bytes of one event as they go to journal, log and subscribers.

    A journey's id from before there was a limit may be longer; it goes on shortened.
    """
    stream_id = data.stream_id
    return _encoder.encode(
        Envelope(
            specversion="1.0",
            id=event_id,
            source=source_of(writer),
            type=data.TYPE,
            subject=stream_id,
            time=time,
            datacontenttype="application/json",
            dataschema=dataschema_of(data.TYPE, data.VERSION),
            recordedtime=recorded_at,
            sequence=f"{sequence:0{SEQUENCE_DIGITS}d}",
            partitionkey=stream_id,
            correlationid=lineage.correlation_id[:ATTRIBUTE_MAX],
            causationid=lineage.causation_id,
            actor=actor or lineage.actor,
            traceparent=lineage.traceparent,
            history=lineage.history,
            data=msgspec.Raw(_encoder.encode(data)),
        )
    )
