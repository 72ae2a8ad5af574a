"""What every event's data has in common, and the field types that contracts are made of."""

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal, cast
from uuid import UUID

import msgspec
from msgspec import Meta

BYTES: Final = "x-maxBytes"
"""Says in a JSON Schema how many bytes a part may have as JSON."""


def at_most(
    *,
    characters: int | None = None,
    items: int | None = None,
    entries: int | None = None,
    bytes: int | None = None,  # noqa: A002 the word
    number: int | None = None,
    least: int | None = None,
) -> Meta:
    """Return limits for who writes; who reads does not ask for them (ADR 0023).

    What stands in Meta itself, as `max_length`, is asked for by every reader: a new one there would
    make events unreadable that are written already. `bytes` are those of a list or map as JSON.
    """
    limits = {
        "maxLength": characters,
        "maxItems": items,
        "maxProperties": entries,
        BYTES: bytes,
        "maximum": number,
        "minimum": least,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return Meta(extra_json_schema=given)


Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339 instant; an offset is required")]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Title = Annotated[str, Meta(min_length=1, max_length=300)]
Text = Annotated[str, Meta(max_length=65_536)]
KEY_PATTERN = r"^[^\x00-\x1f\x7f]+$"
Key = Annotated[str, Meta(min_length=1, max_length=200, pattern=KEY_PATTERN)]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Level = Literal["high", "medium", "low"]
Kind = Literal["incident", "service_request"]
Priority = Literal["P1", "P2", "P3", "P4"]
Line = Annotated[int, Meta(ge=1, le=3)]
Ordinal = Annotated[int, Meta(ge=1), at_most(number=1_000_000_000)]
"""Counts from 1: a version, a cycle, a revision."""
INTEGER_MAX: Final = 9_007_199_254_740_991
"""The largest whole number that every reader of JSON has exactly: 2^53 - 1 (RFC 8259, 6)."""
Amount = Annotated[int, at_most(number=INTEGER_MAX, least=0)]
ATTRIBUTE_MAX: Final = 1_000
Attribute = Annotated[str, at_most(characters=ATTRIBUTE_MAX)]
"""A text of an envelope: a source, an id, who did it."""
Reasons = Annotated[tuple[Annotated[str, at_most(characters=4_000)], ...], at_most(items=30)]
Skills = Annotated[tuple[Key, ...], at_most(items=100)]


class EventData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The `data` of one event: the new values of what it touches, never a delta (R2).

    `TYPE` is the event type and the topic's name; `STREAM` names the field with the stream id,
    which is the Kafka key.
    """

    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1
    STREAM: ClassVar[str]

    @property
    def stream_id(self) -> str:
        """The id of the stream the event belongs to, as it stands in the Kafka key."""
        return cast("str", msgspec.to_builtins(getattr(self, self.STREAM)))  # str() is slower


class TicketData(EventData, frozen=True, kw_only=True):
    """Data of an event in a ticket's stream."""

    STREAM: ClassVar[str] = "ticket_id"

    ticket_id: UUID
