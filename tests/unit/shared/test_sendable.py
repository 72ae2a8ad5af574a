"""What cannot be sent is not written: sizes, content, and the largest event of each contract."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.intake import TicketCommented
from shared.contracts.registry import EVENTS
from shared.contracts.routing import TicketPrioritized
from shared.contracts.sendable import UnsendableError, largest_field, require_sendable
from shared.log.port import RECORD_BYTES_MAX

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
ID = "0f6c1c3e-3c1f-5a52-9d36-5c3f5b1c9a10"


def encoded(writer: str, data: EventData) -> bytes:
    return encode_event(
        writer,
        data,
        sequence=1,
        event_id="e",
        time=AT,
        recorded_at=AT,
        lineage=Lineage(actor="ann", correlation_id="c"),
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


def test_an_event_of_the_largest_size_goes_and_one_byte_more_does_not() -> None:
    room = RECORD_BYTES_MAX - len(encoded("routing", prioritized("")))
    fits = prioritized("x" * room)
    require_sendable(fits, encoded("routing", fits))
    over = prioritized("x" * (room + 1))
    with pytest.raises(UnsendableError, match=r"/reasons/0: too long.*1000000 bytes") as caught:
        require_sendable(over, encoded("routing", over))
    assert caught.value.field == "/reasons/0"


def test_the_field_named_is_the_one_whose_parts_are_all_small() -> None:
    assert largest_field(prioritized(*["reason"] * 1000)) == "/reasons"
    assert largest_field(prioritized("a", "b" * 1000, "c")) == "/reasons/1"


@pytest.mark.parametrize(
    "text", ["x" * 65_537, "a\0b", ""], ids=["longer than the contract", "U+0000", "too short"]
)
def test_what_no_reader_would_believe_is_not_written(text: str) -> None:
    sound = {
        "ticket_id": ID,
        "comment_id": ID,
        "author_id": "ann",
        "author_role": "agent",
        "visibility": "public",
        "text": "x",
    }
    comment = msgspec.structs.replace(msgspec.convert(sound, TicketCommented), text=text)
    with pytest.raises(UnsendableError, match=r"ticket\.commented breaks its contract"):
        require_sendable(comment, encoded("intake", comment))


ALL = [(writer, event) for writer, events in EVENTS.items() for event in events]


@pytest.mark.parametrize(("writer", "event"), ALL, ids=[event.TYPE for _, event in ALL])
def test_the_largest_legal_event_fits_or_is_refused_with_its_field(
    writer: str, event: type[EventData]
) -> None:
    largest = msgspec.convert(_largest(inspect.type_info(event), count()), event, strict=False)
    value = encoded(writer, largest)
    if len(value) <= RECORD_BYTES_MAX:
        require_sendable(largest, value)
    else:
        with pytest.raises(UnsendableError) as caught:
            require_sendable(largest, value)
        assert (caught.value.field or "").startswith("/")


MANY = 20
"""How many items, or hundreds of characters, stand for a limit that is missing or very high."""


def _largest(shape: inspect.Type, fresh: Iterator[int]) -> Any:  # noqa: PLR0911 one for each kind
    match shape:
        case inspect.Metadata():
            return _largest(shape.type, fresh)
        case inspect.UnionType():
            return _largest(max(shape.types, key=_rank), fresh)
        case inspect.StructType():
            return _largest_struct(shape, fresh)
        case inspect.StrType():
            return _largest_text(shape, fresh)
        case inspect.IntType():
            return shape.le if shape.le is not None else 10**9
        case inspect.FloatType():
            return shape.le if shape.le is not None else 1 / 3
        case inspect.LiteralType():
            return max(shape.values, key=lambda value: len(str(value)))
        case inspect.VarTupleType():
            many = min(shape.max_length or MANY, MANY)
            return [_largest(shape.item_type, fresh)] * many
        case inspect.TupleType():
            return [_largest(item, fresh) for item in shape.item_types]
        case inspect.DictType():
            keys = [
                _largest(shape.key_type, fresh) for _ in range(min(shape.max_length or MANY, MANY))
            ]
            return dict.fromkeys(keys, _largest(shape.value_type, fresh))
        case inspect.UUIDType():
            return ID
        case inspect.DateTimeType():
            return "2026-01-05T09:00:00.123456Z"
        case inspect.BoolType():
            return True
        case inspect.NoneType():
            return None
        case _:
            raise AssertionError(f"what is the largest of {shape}?")


def _rank(shape: inspect.Type) -> int:
    order = (inspect.NoneType, inspect.BoolType, inspect.FloatType, inspect.IntType)
    bare = shape.type if isinstance(shape, inspect.Metadata) else shape
    return order.index(type(bare)) if type(bare) in order else len(order)


def _largest_struct(shape: inspect.StructType, fresh: Iterator[int]) -> dict[str, Any]:
    if shape.cls.__name__ in {"Goal", "WarnRule"}:  # exactly one of their fields
        return {"working_seconds": 1} if shape.cls.__name__ == "Goal" else {"percent": 50}
    if shape.cls.__name__ == "Target":
        words = {"start": ["created"], "stop": ["resolved"], "pause": ["held"]}
        return {
            field.encode_name: words.get(field.name) or _largest(field.type, fresh)
            for field in shape.fields
        }
    return {field.encode_name: _largest(field.type, fresh) for field in shape.fields}


_PATTERNS = {
    r"^\d{4}-\d\d-\d\d$": lambda n: f"{1000 + n % 9000}-01-01",
    r"^(\d{4}|-)-\d\d-\d\d$": lambda n: f"{1000 + n % 9000}-01-01",
    r"^([01]\d|2[0-3]):[0-5]\d$": lambda _: "23:59",
    r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$": lambda _: "24:00",
    r"^[A-Z]{3}$": lambda _: "EUR",
    r"^[0-9a-f]{64}$": lambda _: "f" * 64,
}


def _largest_text(shape: inspect.StrType, fresh: Iterator[int]) -> str:
    if shape.pattern in _PATTERNS:
        return _PATTERNS[shape.pattern](next(fresh))
    length = shape.max_length or 100 * MANY
    return f"{next(fresh):06d}".ljust(length, "好")
