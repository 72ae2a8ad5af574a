"""What every event's data has in common, and the field types that contracts are made of."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

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
Reasons = tuple[str, ...]


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
        return str(getattr(self, self.STREAM))


class TicketData(EventData, frozen=True, kw_only=True):
    """Data of an event in a ticket's stream."""

    STREAM: ClassVar[str] = "ticket_id"

    ticket_id: UUID
