"""Every event there is: its contract, its writer, its topic; and how bytes become an event.

The verdict on a record depends on its bytes alone, so that a rebuild quarantines what the live
consumer quarantined (R8).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from operator import attrgetter
from types import UnionType
from typing import Any, Final, TypeVar, cast, get_args

import msgspec

from shared.contracts import agreements, availability, intake, knowledge, reporting, routing, sla
from shared.contracts.base import Attribute, EventData
from shared.contracts.envelope import (
    SEQUENCE_DIGITS,
    Envelope,
    dataschema_of,
    source_of,
    version_of,
)
from shared.contracts.intake import TicketReported
from shared.contracts.storable import is_far, is_suspect, unstorable
from shared.contracts.upcasters import UPCASTERS, as_sent
from shared.log.port import Record

_D = TypeVar("_D")
_FIRST_REPORT: Final = re.compile(rb'"requester_id"\s*:')

INBOUND: Final = "ticket.reported"
_SEQUENCE_MAX: Final = 2_147_483_647  # what the journal's column holds
_ORDER: Final = attrgetter("time", "writer", "sequence")
_MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _types(union: UnionType) -> tuple[type[EventData], ...]:
    return get_args(union)


EVENTS: Final[dict[str, tuple[type[EventData], ...]]] = {
    "intake": _types(intake.TicketEvent),
    "routing": _types(routing.RoutingEvent),
    "sla": (
        *_types(sla.SlaEvent),
        *_types(availability.ServiceEvent),
        *_types(agreements.AgreementEvent),
    ),
    "knowledge": _types(knowledge.ArticleEvent),
    "reporting": (reporting.AuditCheckpointed,),
}
"""Writer → the events that only it makes."""

TOPICS: Final = (INBOUND, *(event.TYPE for events in EVENTS.values() for event in events))


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """One event taken from a log or a journal, decoded: what folds and decisions work on.

    `value` is the event as it travelled; `history` marks what another system did, long ago.
    `traceparent` is the span that wrote it (W3C Trace Context); no rule may depend on it.
    """

    writer: str
    stream_id: str
    sequence: int
    event_id: str
    time: datetime
    recorded_at: datetime
    data: EventData
    actor: Attribute
    correlation_id: Attribute
    causation_id: Attribute | None
    history: bool
    value: bytes
    traceparent: Attribute | None = None

    @property
    def type(self) -> str:
        """The event's type, which is its topic's name."""
        return self.data.TYPE


class UndecodableError(Exception):
    """The record can never be applied. `reason` is a metric label, `detail` the sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep both for the quarantine."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class _Whole(Envelope, frozen=True, kw_only=True, gc=False):
    """An envelope whose data is decoded with it; each contract has its own kind."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is left of an envelope when only its data matter; each contract has its own kind."""

    data: Any
    dataschema: str | None = None


@dataclass(frozen=True, slots=True)
class _Contract:
    writer: str
    source: str
    version: int
    dataschema: str
    decoder: msgspec.json.Decoder[EventData]
    whole: msgspec.json.Decoder[_Whole]
    part: msgspec.json.Decoder[_Part]
    has_instants: bool


def _contract(writer: str, data_type: type[EventData]) -> _Contract:
    whole = msgspec.defstruct(
        f"{data_type.__name__}Event",
        [("data", data_type)],
        bases=(_Whole,),
        frozen=True,
        kw_only=True,
        gc=False,
    )
    part = msgspec.defstruct(
        f"{data_type.__name__}Part",
        [("data", data_type)],
        bases=(_Part,),
        frozen=True,
        kw_only=True,
        gc=False,
    )
    return _Contract(
        writer,
        source_of(writer),
        data_type.VERSION,
        dataschema_of(data_type.TYPE, data_type.VERSION),
        msgspec.json.Decoder(data_type),
        cast("msgspec.json.Decoder[_Whole]", msgspec.json.Decoder(whole)),
        cast("msgspec.json.Decoder[_Part]", msgspec.json.Decoder(part)),
        b'"date-time"' in msgspec.json.encode(msgspec.json.schema(data_type)),
    )


@cache
def _contracts() -> dict[str, _Contract]:
    return {
        event.TYPE: _contract(writer, event)
        for writer, events in EVENTS.items()
        for event in events
    }


_envelope_decoder = msgspec.json.Decoder(Envelope)
_report_decoder = msgspec.json.Decoder(TicketReported)


def writer_of(event_type: str) -> str:
    """Return the one service that writes events of that type (KeyError if none does)."""
    return _contracts()[event_type].writer


def topics_of(*writers: str) -> tuple[str, ...]:
    """Return the topics those services write."""
    return tuple(event.TYPE for writer in writers for event in EVENTS[writer])


def decode_envelope(value: bytes | None) -> Envelope:
    """Read the envelope of a record's value.

    Raises: UndecodableError for a tombstone or what is no CloudEvent of version 1.0.
    """
    if value is None:
        raise UndecodableError("tombstone", "the record has no value")
    try:
        envelope = _envelope_decoder.decode(value)
    except msgspec.ValidationError as error:
        raise UndecodableError("envelope", str(error)) from error
    except _MALFORMED as error:
        raise UndecodableError("not_json", str(error)) from error
    if is_suspect(value):
        _require_storable(envelope)
    if envelope.specversion != "1.0":
        raise UndecodableError("envelope", f"specversion is {envelope.specversion!r}, not '1.0'")
    return envelope


def decode_record(record: Record) -> Recorded:
    """Read one record of a topic that a service of the desk writes.

    Raises: UndecodableError when the bytes are no valid event of that topic.
    """
    return _of_its_key(record, decode_event(record.topic, record.value))


def decode_shared_record(record: Record) -> Recorded:
    """Read one record as `decode_record` does, by `decode_shared`."""
    return _of_its_key(record, decode_shared(record.topic, record.value))


def _of_its_key(record: Record, recorded: Recorded) -> Recorded:
    if record.key != recorded.stream_id.encode():
        raise UndecodableError("wrong_key", f"key {record.key!r}, stream {recorded.stream_id!r}")
    return recorded


def decode_event(event_type: str, value: bytes | None) -> Recorded:
    """Read an event of that type, at whatever version it was written.

    Raises: UndecodableError when a part is missing, wrong, or of a newer version than we know.
    """
    contract = _contracts().get(event_type)
    envelope, data = _read_newest(contract, value) or (None, None)
    if envelope is None:
        envelope = decode_envelope(value)
    if contract is None or envelope.type != event_type:
        raise UndecodableError("wrong_topic", f"{envelope.type!r} in topic {event_type!r}")
    if envelope.source != contract.source:
        raise UndecodableError("wrong_writer", f"{envelope.source!r} wrote {envelope.type!r}")
    if data is None:
        data = _decode_data(envelope, contract.decoder, contract.version)
    stream_id = data.stream_id
    if envelope.subject != stream_id:
        raise UndecodableError("wrong_key", f"subject {envelope.subject!r}, stream {stream_id!r}")
    return Recorded(
        contract.writer,
        stream_id,
        _sequence(envelope.sequence),
        envelope.id,
        _aware(envelope.time, "time"),
        _aware(envelope.recordedtime, "recordedtime"),
        data,
        envelope.actor or "",
        envelope.correlationid or envelope.id,
        envelope.causationid,
        envelope.history,
        value or b"",
        envelope.traceparent,
    )


SHARED_MAX: Final = 4_096
SHARED_BYTES_MAX: Final = 4_096
_remembered = lru_cache(maxsize=SHARED_MAX)(decode_event)


def decode_shared(event_type: str, value: bytes | None) -> Recorded:
    """As `decode_event`, remembered by the bytes; all that is remembered has 16 MiB at most.

    In one process five services read the same records; and who reacts to an event reads it again
    soon, from its history or its journal. A large event is rare, and read anew.
    """
    if value is not None and len(value) > SHARED_BYTES_MAX:
        return decode_event(event_type, value)
    return _remembered(event_type, value)


def decode_data(event_type: str, value: bytes) -> EventData:
    """Read only the data of an event that was found sound before, at whatever version.

    Raises: UndecodableError as `decode_event`.
    """
    contract = _contracts().get(event_type)
    if contract is not None:
        try:
            part = contract.part.decode(value)
        except _MALFORMED:
            return decode_event(event_type, value).data
        if part.dataschema == contract.dataschema:
            return cast("EventData", part.data)
    return decode_event(event_type, value).data


def _read_newest(
    contract: _Contract | None, value: bytes | None
) -> tuple[Envelope, EventData] | None:
    """Read envelope and data in one pass if all is well and of the newest version, else None.

    Nearly every event is. Whatever is not is read again, slowly, for its verdict.
    """
    if contract is None or value is None:
        return None
    if is_suspect(value, has_instants=contract.has_instants):
        return None
    try:
        whole = contract.whole.decode(value)
    except _MALFORMED:
        return None
    if whole.specversion != "1.0" or whole.dataschema != contract.dataschema:
        return None
    if is_far(whole.time) or is_far(whole.recordedtime):
        return None
    return whole, cast("EventData", whole.data)


def decode_report(envelope: Envelope) -> TicketReported:
    """Read what another system asks for, in any known version of `ticket.reported`.

    Other systems need not name the version (CloudEvents has `dataschema` optional): it is the
    newest then, unless the record has the names of version 1. Raises: UndecodableError as
    `decode_event`.
    """
    if envelope.type != INBOUND:
        raise UndecodableError("unknown_type", f"type {envelope.type!r} is not {INBOUND!r}")
    if not envelope.id or not envelope.source:
        raise UndecodableError("envelope", "id and source must not be empty")
    if envelope.dataschema is None and not _FIRST_REPORT.search(bytes(envelope.data)):
        newest = dataschema_of(INBOUND, TicketReported.VERSION)
        envelope = msgspec.structs.replace(envelope, dataschema=newest)
    return _decode_data(envelope, _report_decoder, TicketReported.VERSION)


INBOUND_DECODERS: Final[Mapping[str, Callable[[Envelope], EventData]]] = {INBOUND: decode_report}
"""Topics that any system may write, and how to read what they hold."""


def _decode_data(envelope: Envelope, decoder: msgspec.json.Decoder[_D], newest: int) -> _D:
    version = version_of(envelope.dataschema, envelope.type)
    if version is None or version < 1:
        raise UndecodableError("dataschema", f"dataschema {envelope.dataschema!r} is not ours")
    if version > newest:
        raise UndecodableError("newer_version", f"version {version}; newest known is {newest}")
    try:
        if version == newest:
            data = decoder.decode(envelope.data)
        else:
            data = msgspec.convert(_lift(envelope, version, newest), decoder.type)
    except _MALFORMED as error:
        told = as_sent(envelope.type, version, str(error))
        cause = msgspec.ValidationError(told) if told != str(error) else error
        raise UndecodableError("schema", told) from cause
    if is_suspect(bytes(envelope.data)):
        _require_storable(data)
    return data


def _require_storable(part: object) -> None:
    if fault := unstorable(part):
        raise UndecodableError("schema", fault)


def _lift(envelope: Envelope, version: int, newest: int) -> dict[str, Any]:
    data = msgspec.json.decode(envelope.data, type=dict[str, Any])
    for step in range(version, newest):
        data = UPCASTERS[envelope.type, step](data)
    return data


def _sequence(text: str | None) -> int:
    if (
        text is None
        or len(text) != SEQUENCE_DIGITS
        or not (text.isascii() and text.isdecimal())
        or not 1 <= int(text) <= _SEQUENCE_MAX
    ):
        raise UndecodableError("envelope", f"sequence is {text!r}")
    return int(text)


def _aware(instant: datetime | None, name: str) -> datetime:
    if instant is None or instant.tzinfo is None:
        raise UndecodableError("envelope", f"{name} is missing or has no offset")
    return instant


def history_order(facts: Iterable[Recorded]) -> list[Recorded]:
    """Return facts in the one order that rules over several writers use (R4)."""
    return sorted(facts, key=_ORDER)
