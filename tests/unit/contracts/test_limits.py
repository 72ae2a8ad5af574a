"""Every part of every contract has a limit, and within all limits every event fits into the log."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta, inspect
from support.largest import CONTROL, UnboundedError, bound, largest, limits, size

from services.host import ROOMS
from services.sla.domain.files.scenario import CalendarPart
from shared.contracts.base import INTEGER_MAX, EventData, at_most
from shared.contracts.envelope import Envelope, Lineage, encode_event
from shared.contracts.intake import TicketReported
from shared.contracts.limits import Excess, excess
from shared.contracts.promises import Target
from shared.contracts.registry import EVENTS, Recorded, decode_event
from shared.contracts.routing import TicketPrioritized
from shared.contracts.sendable import UnsendableError, require_sendable
from shared.contracts.sla import SlaCalendarPublished
from shared.ids import event_id
from shared.log.port import RECORD_BYTES_MAX
from shared.runtime.read_model import Fold

AT = datetime(2026, 1, 5, 9, 0, 0, 123456, tzinfo=UTC)
ALL = [(writer, event) for writer, events in EVENTS.items() for event in events]
IDS = [event.TYPE for _, event in ALL]
LONGEST = CONTROL * 1_000


def envelope_bound() -> int:
    """Return what an envelope has at most beside its data, which is null here."""
    fields = inspect.type_info(Envelope).fields  # type: ignore[attr-defined]
    return 2 + sum(
        len(field.encode_name) + 4 + (4 if field.name == "data" else bound(field.type, field.name))
        for field in fields
    )


def encoded(writer: str, data: EventData, lineage: Lineage) -> bytes:
    return encode_event(
        writer,
        data,
        sequence=2_147_483_647,
        event_id=event_id(writer, data.stream_id, 2_147_483_647),
        time=AT,
        recorded_at=AT,
        lineage=lineage,
    )


@pytest.mark.parametrize("event", [TicketReported, *(event for _, event in ALL)])
def test_no_part_of_a_contract_is_without_a_limit_and_all_together_fit(
    event: type[EventData],
) -> None:
    assert envelope_bound() + bound(inspect.type_info(event)) <= RECORD_BYTES_MAX


@pytest.mark.parametrize(("writer", "event"), ALL, ids=IDS)
def test_the_largest_legal_event_can_be_sent_and_is_read_as_it_was_written(
    writer: str, event: type[EventData]
) -> None:
    shape = inspect.type_info(event)
    data = msgspec.convert(largest(shape, RECORD_BYTES_MAX), event, strict=False)
    lineage = Lineage(
        actor=LONGEST,
        correlation_id=LONGEST,
        causation_id=LONGEST,
        traceparent=LONGEST,
        history=True,
    )
    value = encoded(writer, data, lineage)
    require_sendable(data, value)
    assert decode_event(event.TYPE, value).data == data
    assert size(data) >= 0.7 * bound(shape), "it is about as large as anything legal can be"


class Loose(msgspec.Struct):
    """A part without a limit, however deep, is found."""

    parts: Annotated[dict[str, tuple[float, ...]], at_most(entries=3)]


class Numbers(msgspec.Struct):
    """A number without a limit is found too."""

    parts: tuple[Annotated[int, Meta(ge=0)], ...]


@pytest.mark.parametrize("shape", [Loose, Numbers])
def test_a_part_without_a_limit_would_be_found(shape: type[msgspec.Struct]) -> None:
    with pytest.raises(UnboundedError, match=r"/parts/\*"):
        bound(inspect.type_info(shape))


TARGET: dict[str, Any] = {
    "name": "t",
    "kind": "sla",
    "goal": {"working_seconds": 60},
    "start": ["created"],
    "stop": ["resolved"],
}


def target(**parts: Any) -> Target:
    return msgspec.convert(TARGET | parts, Target)


def calendar(**parts: Any) -> CalendarPart:
    body = {"id": "c", "zone": "UTC", "weekly": {"mon": [("09:00", "17:00")]}}
    return msgspec.convert(body | parts, CalendarPart)


def days(count: int, windows: int = 1) -> dict[str, Any]:
    day = [("09:00", "17:00")] * windows
    return {f"{1000 + n // 336}-{1 + n // 28 % 12:02}-{1 + n % 28:02}": day for n in range(count)}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (target(when={"site": "x" * 1_000, "line": INTEGER_MAX}), None),
        (target(when={"site": "x" * 1_001}), Excess("/when/site", "must have at most 1000 char")),
        (target(when={"a/b~": ["x", "y" * 1_001]}), Excess("/when/a~1b~0/1", "must have at most")),
        (
            target(when={"line": INTEGER_MAX + 1}),
            Excess("/when/line", "must be at most 9007199254"),
        ),
        (target(when={"line": -INTEGER_MAX - 1}), Excess("/when/line", "must be at least -90071")),
        (target(when={"x" * 201: 1}), Excess("/when", "a key must have at most 200 characters")),
        (
            target(start=[{"a": True}, {"b": "x" * 1_001}]),
            Excess("/start/1/b", "must have at most"),
        ),
        (
            target(goal={"date_field": "x" * 201}),
            Excess("/goal/date_field", "must have at most 200"),
        ),
        (calendar(special_days=days(2_000)), None),
        (
            calendar(special_days=days(2_001)),
            Excess("/special_days", "must have at most 2000 entr"),
        ),
        (
            calendar(special_days=days(1_500, 24)),
            Excess("/special_days", "has 670501 bytes as JSON"),
        ),
        (
            calendar(weekly={"mon": days(1, 25).popitem()[1]}),
            Excess("/weekly/mon", "must have at most 24 entries"),
        ),
    ],
)
def test_the_first_part_over_its_limit_is_named(
    value: msgspec.Struct, found: Excess | None
) -> None:
    seen = excess(value)
    if found is None or seen is None:
        assert seen == found
    else:
        assert seen.pointer == found.pointer
        assert seen.reason.startswith(found.reason)


def test_limits_stand_in_the_schemas() -> None:
    schema = msgspec.json.schema(SlaCalendarPublished)["$defs"]["SlaCalendarPublished"]
    days_of_it = schema["properties"]["special_days"]
    assert (days_of_it["maxProperties"], days_of_it["x-maxBytes"]) == (2_000, 600_000)
    _, given = limits(inspect.type_info(Annotated[int, Meta(ge=1), at_most(number=3)]))
    assert given == {"maximum": 3}


# --- What was written before there were limits --------------------------------------------------

OLD_REASONS = TicketPrioritized(
    ticket_id=UUID(int=1),
    priority="P1",
    impact="high",
    urgency="high",
    reasons=("because",) * 1_000,
    policy_version=1,
)
OLD_CALENDAR = SlaCalendarPublished(
    calendar_id="old",
    version=7,
    name="old",
    zone="UTC",
    weekly={"mon": (("09:00", "17:00"),) * 25},
    special_days=dict.fromkeys(days(20_000), (("09:00", "17:00"),)),
)


@pytest.mark.parametrize(
    ("writer", "data"), [("routing", OLD_REASONS), ("sla", OLD_CALENDAR)], ids=["reasons", "days"]
)
def test_an_old_event_over_a_limit_is_read_and_folded_but_not_written_again(
    writer: str, data: EventData
) -> None:
    value = encoded(writer, data, Lineage(actor="a" * 5_000, correlation_id="c"))
    recorded = decode_event(data.TYPE, value)
    assert isinstance(recorded, Recorded)
    assert recorded.data == data
    for service, room in ROOMS.items():
        model = room().spec.read_model
        fold = Fold(model)
        fold.add(recorded)
        shown = any(fold.rows(table) for table in model.tables)
        assert shown or service not in {writer, "reporting"}
    with pytest.raises(UnsendableError):
        require_sendable(data, value)
