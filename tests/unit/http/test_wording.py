"""Errors in plain words: what is wanted, what may be chosen, which key is at fault."""

import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta, Struct
from pydantic import Field, TypeAdapter, ValidationError

import services.intake.schemas
import services.knowledge.schemas
import services.routing.schemas
import services.sla.schemas
from services.sla.domain.rules.publishing import RulesWanted
from shared.contracts.agreements import Day
from shared.contracts.base import Instant, Key
from shared.contracts.envelope import Envelope, dataschema_of
from shared.contracts.intake import TicketReported
from shared.contracts.registry import UndecodableError, decode_report
from shared.errors import InvalidInputError
from shared.faults import from_msgspec, from_undecodable
from shared.http.body import decode_struct, inline_schema
from shared.http.commands import Body
from shared.wording import PATTERNS, of_pydantic

INSTANT = "an instant with an offset, such as 2026-01-31T09:00:00Z"


class Level(Enum):
    HIGH = "high"
    LOW = "low"


class Percent(Struct, tag_field="rule", tag="percent"):
    value: Annotated[int, Meta(ge=1, le=100)]


class Before(Struct, tag_field="rule", tag="before"):
    seconds: int


class Odd(Struct):
    def __post_init__(self) -> None:
        raise ValueError("/inside: two and two are four")


@pytest.mark.parametrize(
    ("type_", "value", "said"),
    [
        (int, "a", "must be a whole number, not text"),
        (int, 2.5, "must be a whole number, not a number"),
        (int | None, "a", "must be a whole number or null, not text"),
        (bool | int | str | None, [], "must be true or false, a whole number, text or null, not"),
        (str, {}, "must be text, not an object"),
        (list[int], {}, "must be a list, not an object"),
        (datetime | None, 3, f"must be {INSTANT} or null, not a whole number"),
        (Annotated[int, Meta(ge=1)], 0, "must be at least 1."),
        (Annotated[float, Meta(gt=0)], 0, "must be more than 0."),
        (Annotated[float, Meta(le=0.5)], 1, "must be at most 0.5."),
        (Annotated[int, Meta(lt=5)], 5, "must be at most 4."),
        (Annotated[int, Meta(multiple_of=60)], 61, "must be a multiple of 60."),
        (Annotated[str, Meta(min_length=1)], "", "must not be empty."),
        (Annotated[str, Meta(min_length=2)], "a", "must have at least 2 characters."),
        (Annotated[str, Meta(max_length=1)], "ab", "must have at most 1 character."),
        (Annotated[list[int], Meta(min_length=1)], [], "must not be empty."),
        (Annotated[list[int], Meta(max_length=1)], [1, 2], "must have at most 1 entry."),
        (Annotated[dict[str, int], Meta(min_length=1)], {}, "must not be empty."),
        (tuple[int, int], [1], "must have exactly 2 entries."),
        (Key, "a\nb", "must be text on one line, without control characters."),
        (Day, "tomorrow", "must be a date such as 2026-01-31."),
        (Annotated[str, Meta(pattern="^'a'$")], "b", "must match the pattern ^'a'$."),
        (Instant, "soon", f"must be {INSTANT}."),
        (Instant, "2026-01-31T09:00:00", f"must be {INSTANT}."),
        (date, "soon", "must be a date such as 2026-01-31."),
        (UUID, "7", "must be a UUID such as "),
        (Decimal, "x", "must be a number."),
        (Level, "bogus", "must be one of high, low, not 'bogus'."),
        (Literal["sla", "ola"], "bogus", "must be one of ola, sla, not 'bogus'."),
        (Literal["sla", "ola"], 3, "must be one of ola, sla."),
        (Literal["sla", "ola"] | None, "x", "must be one of ola, sla, null, not 'x'."),
        (Literal[1, 2], 3, "must be one of 1, 2, not 3."),
        (Percent | Before, {"rule": "x"}, "/rule: must be one of percent, before, not 'x'."),
        (list[Literal["a"] | int], ["b"], "/0: must not be 'b'."),
        (Odd, {}, "/inside: two and two are four."),
    ],
)
def test_what_msgspec_finds_is_said_in_plain_words(type_: Any, value: object, said: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decode_struct(msgspec.json.encode({"at": value}), dict[Literal["at"], type_])
    assert refused.value.detail.startswith(f"/at{said}" if said[0] == "/" else f"/at: {said}")
    assert "`" not in refused.value.detail


@pytest.mark.parametrize(
    ("type_", "value", "said"),
    [
        (int, "a", "must be a whole number"),
        (int, "2.5", "must be a whole number"),
        (float, "a", "must be a number"),
        (bool, "maybe", "must be true or false"),
        (datetime, "soon", f"must be {INSTANT}"),
        (datetime, "2026-02-30", f"must be {INSTANT}"),
        (date, "soon", "must be a date such as 2026-01-31"),
        (UUID, "VPN", "must be a UUID such as "),
        (Literal["month", "year"], "week", "must be one of month, year"),
        (Literal["only"], "x", "must be one of only"),
        (Level, "x", "must be one of high, low"),
        (Annotated[int, Field(ge=1)], "0", "must be at least 1"),
        (Annotated[int, Field(le=200)], "201", "must be at most 200"),
        (Annotated[int, Field(gt=1)], "1", "must be more than 1"),
        (Annotated[int, Field(lt=1)], "1", "must be less than 1"),
        (Annotated[str, Field(min_length=1)], "", "must not be empty"),
        (Annotated[str, Field(max_length=200)], "x" * 201, "must have at most 200 characters"),
        (Annotated[str, Field(pattern="^[A-Z]{3}$")], "eur", "must be three capital letters"),
        (Annotated[list[int], Field(min_length=2)], [1], "must have at least 2 entries"),
        (str, 3, "must be text"),
        (list[int], 3, "must be a list"),
    ],
)
def test_what_pydantic_finds_is_said_in_the_same_words(
    type_: Any, value: object, said: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter[Any](type_).validate_python(value)
    assert of_pydantic(dict(refused.value.errors()[0])).startswith(said)


@pytest.mark.parametrize(
    ("type_", "value", "field"),
    [
        (dict[str, int], {"a": 1, "b/c": "x"}, "/b~1c"),
        (dict[str, dict[str, int]], {"a": {"x": 1}, "b": {"y": 2, "z": []}}, "/b/z"),
        (dict[str, list[dict[str, int]]], {"a": [{}, {"k": "x"}]}, "/a/1/k"),
        (dict[Literal["mon", "tue"], int], {"mon": 1, "wed": 2}, "/wed"),
        (list[dict[Key, int]], [{}, {"a": 1, "": 2}], "/1/"),
        (dict[str, Percent], {"a": {"rule": "percent", "value": 0}}, "/a/value"),
        (dict[str, Percent], {"a": {"rule": "percent"}}, "/a/value"),
    ],
)
def test_the_key_of_a_map_is_named(type_: Any, value: object, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decode_struct(msgspec.json.encode(value), type_)
    assert refused.value.field == field
    assert refused.value.detail.startswith(field)


def test_a_key_among_too_many_is_not_looked_for() -> None:
    body = msgspec.json.encode({str(n): n for n in range(10_000)} | {"last": "x"})
    with pytest.raises(InvalidInputError) as refused:
        decode_struct(body, dict[str, int])
    assert refused.value.detail == "/*: must be a whole number, not text."


def test_a_complaint_nobody_foresaw_is_told_as_it_is() -> None:
    error = from_msgspec(msgspec.ValidationError("The moon is full - at `$.night`"))
    assert (error.field, error.detail) == ("/night", "/night: The moon is full.")


def bodies(kind: type[Body] = Body) -> Iterator[type[Body]]:
    for below in kind.__subclasses__():
        yield below
        yield from bodies(below)


def test_every_pattern_of_a_request_has_words() -> None:
    rooms = (services.intake, services.knowledge, services.routing, services.sla)
    assert all(room.schemas for room in rooms)
    shapes = [RulesWanted, *bodies()]
    assert len(shapes) > 20
    found = re.findall(
        r'"pattern":("(?:[^"\\]|\\.)*")',
        str([msgspec.json.encode(inline_schema(shape)).decode() for shape in shapes]).replace(
            "\\\\", "\\"
        ),
    )
    wanted = {msgspec.json.decode(text) for text in found}
    assert wanted
    assert wanted <= PATTERNS.keys()


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"data": {"title": "x", "requester": {"id": 7}}}, "/data/requester/id", "must be text"),
        ({"data": {"title": "x"}}, "/data/requester", "is required"),
        (
            {"data": {"title": "x", "requester": {"id": "a"}, "channel": "fax"}},
            "/data/channel",
            "must be one of",
        ),
        ({"type": "ticket.created"}, "/type", "is not 'ticket.reported'"),
        ({"dataschema": dataschema_of("ticket.reported", 99)}, "/dataschema", "newest known"),
    ],
)
def test_an_event_that_cannot_be_taken_is_told_by_its_key(
    change: dict[str, Any], field: str, words: str
) -> None:
    event = {"type": "ticket.reported", "data": {}, **change}
    data = msgspec.json.encode(event.pop("data"))
    schema = event.pop("dataschema", dataschema_of("ticket.reported", 2))
    envelope = Envelope(
        specversion="1.0", id="1", source="/m", dataschema=schema, data=msgspec.Raw(data), **event
    )
    with pytest.raises(UndecodableError) as refused:
        decode_report(envelope)
    told = from_undecodable(refused.value, data, TicketReported, "/3")
    assert told.field == f"/3{field}"
    assert words in told.detail
    assert told.detail.startswith(f"/3{field}")
