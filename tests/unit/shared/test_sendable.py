"""What cannot be sent is not written: limits, sizes and content."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from shared.contracts import sendable
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.intake import TicketCommented
from shared.contracts.routing import TicketPrioritized
from shared.contracts.sendable import UnsendableError, largest_field, require_sendable

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
ID = "0f6c1c3e-3c1f-5a52-9d36-5c3f5b1c9a10"


def encoded(writer: str, data: EventData, actor: str = "ann", journey: str = "c") -> bytes:
    return encode_event(
        writer,
        data,
        sequence=1,
        event_id="e",
        time=AT,
        recorded_at=AT,
        lineage=Lineage(actor=actor, correlation_id=journey),
    )


def prioritized(*reasons: str) -> TicketPrioritized:
    body: dict[str, Any] = {
        "ticket_id": ID,
        "priority": "P1",
        "impact": "high",
        "urgency": "high",
        "reasons": reasons,
        "policy_version": 1,
    }
    return msgspec.convert(body, TicketPrioritized)


def test_an_event_of_the_largest_size_goes_and_one_byte_more_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = prioritized("short", "x" * 1000)
    value = encoded("routing", event)
    monkeypatch.setattr(sendable, "RECORD_BYTES_MAX", len(value))
    require_sendable(event, value)
    monkeypatch.setattr(sendable, "RECORD_BYTES_MAX", len(value) - 1)
    with pytest.raises(UnsendableError, match=r"/reasons/1: too long.*bytes") as caught:
        require_sendable(event, value)
    assert caught.value.field == "/reasons/1"


def test_what_is_over_a_limit_is_named_with_the_limit() -> None:
    over = prioritized("short", "x" * 4_001)
    expected = r"^/reasons/1: must have at most 4000 characters\.$"
    with pytest.raises(UnsendableError, match=expected) as caught:
        require_sendable(over, encoded("routing", over))
    assert caught.value.field == "/reasons/1"


def test_an_envelope_has_limits_too() -> None:
    event = prioritized("short")
    require_sendable(event, encoded("routing", event, journey="c" * 5_000))
    value = encoded("routing", event, actor="a" * 1_001)
    with pytest.raises(UnsendableError, match="its actor must have at most 1000 characters"):
        require_sendable(event, value)


def test_the_field_named_is_the_one_whose_parts_are_all_small() -> None:
    assert largest_field(prioritized(*["reason"] * 1000)) == "/reasons"
    assert largest_field(prioritized("a", "b" * 1000, "c")) == "/reasons/1"


@pytest.mark.parametrize(
    ("text", "field"),
    [("x" * 65_537, "/text"), ("a\0b", None), ("", "/text")],
    ids=["longer than the contract", "U+0000", "too short"],
)
def test_what_no_reader_would_believe_is_not_written(text: str, field: str | None) -> None:
    sound = {
        "ticket_id": ID,
        "comment_id": ID,
        "author_id": "ann",
        "author_role": "agent",
        "visibility": "public",
        "text": "x",
    }
    comment = msgspec.structs.replace(msgspec.convert(sound, TicketCommented), text=text)
    with pytest.raises(UnsendableError, match=r"ticket\.commented breaks its contract") as caught:
        require_sendable(comment, encoded("intake", comment))
    assert caught.value.field == field
