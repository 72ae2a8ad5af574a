"""How large a value of a type can be, and the largest there is: read from the type itself.

Bytes are those of compact JSON. The widest character of a text is a control character, six bytes as
`\\u0001`; of a key, which has none, one of four bytes in UTF-8, as musical symbols are.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import msgspec
from msgspec import inspect

from shared.contracts.base import BYTES, KEY_PATTERN
from shared.contracts.promises import Goal, Target, WarnRule

CONTROL = "\x01"
CLEF = "\U0001d11e"
_PATTERNS: Mapping[str, Callable[[int], str]] = {
    r"^\d{4}-\d\d-\d\d$": lambda n: f"{1000 + n % 9000}-{1 + n // 9000 % 12:02}-01",
    r"^(\d{4}|-)-\d\d-\d\d$": lambda _: "1000-01-01",
    r"^([01]\d|2[0-3]):[0-5]\d$": lambda _: "23:59",
    r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$": lambda _: "24:00",
    r"^[A-Z]{3}$": lambda _: "EUR",
    r"^[0-9a-f]{64}$": lambda _: "f" * 64,
}
"""Patterns that bound a text by themselves, and a text of each; other numbers, other texts."""
_ONE_OF: Mapping[Any, Mapping[str, Any]] = {
    Goal: {"date_field": "f" * 200},
    WarnRule: {"after_due_seconds": 10_000_000_000},
}
"""Structs of which exactly one field may be given."""
_WORDS: Mapping[str, Any] = {"start": ["created"], "stop": ["requester_message"], "pause": ["held"]}
_INSTANT = "2026-01-05T09:00:00.123456+14:00"
_UUID = "0f6c1c3e-3c1f-5a52-9d36-5c3f5b1c9a10"
_PLAIN: Mapping[type[inspect.Type], Any] = {
    inspect.FloatType: 0.12345678901234568,
    inspect.UUIDType: _UUID,
    inspect.DateTimeType: _INSTANT,
    inspect.BoolType: False,
    inspect.NoneType: None,
}


class UnboundedError(Exception):
    """A part of a type has no limit."""


def size(value: object) -> int:
    """Return the bytes of a value as JSON."""
    return len(msgspec.json.encode(value))


def limits(shape: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    """Return a type without its limits for who writes, and these."""
    found: dict[str, Any] = {}
    while isinstance(shape, inspect.Metadata):
        found |= shape.extra_json_schema or {}
        shape = shape.type
    return shape, found


def bound(shape: inspect.Type, at: str = "") -> int:  # noqa: PLR0911 one for each kind of type
    """Return how many bytes a legal value has at most. Raises: UnboundedError naming the part."""
    bare, given = limits(shape)
    match bare:
        case inspect.StrType():
            return _text_bound(bare, given, at)
        case inspect.IntType():
            ends = _least((bare.le, given.get("maximum"))), _most((bare.ge, given.get("minimum")))
            if bare.gt is not None:
                ends = ends[0], bare.gt
            if None in ends:
                raise UnboundedError(at)
            return max(map(size, ends))
        case inspect.FloatType():
            return len("-2.2250738585072014e-308")
        case inspect.LiteralType():
            return max(map(size, bare.values))
        case inspect.UnionType():
            return max(bound(part, at) for part in bare.types)
        case inspect.StructType():
            return 2 + sum(
                len(field.encode_name) + 4 + bound(field.type, f"{at}/{field.encode_name}")
                for field in bare.fields
            )
        case inspect.TupleType():
            return 2 + sum(1 + bound(part, at) for part in bare.item_types)
        case inspect.VarTupleType() | inspect.DictType():
            return _many_bound(bare, given, at)
        case _:
            return size(_PLAIN[type(bare)])


def _text_bound(shape: inspect.StrType, given: Mapping[str, Any], at: str) -> int:
    if shape.pattern in _PATTERNS:
        return 2 + len(CLEF.encode()) * len(_PATTERNS[shape.pattern](0))
    length = _least((shape.max_length, given.get("maxLength")))
    if length is None:
        raise UnboundedError(at)
    return 2 + _width(shape) * length


def _many_bound(shape: Any, given: Mapping[str, Any], at: str) -> int:
    if isinstance(shape, inspect.DictType):
        one = bound(shape.key_type, f"{at}/*") + 2 + bound(shape.value_type, f"{at}/*")
    else:
        one = 1 + bound(shape.item_type, f"{at}/*")
    many = count_max(shape, given)
    found = _least((None if many is None else 2 + many * one, given.get(BYTES)))
    if found is None:
        raise UnboundedError(at)
    return found


def count_max(shape: Any, given: Mapping[str, Any]) -> int | None:
    """Return how many items or entries there may be, None where nothing says it."""
    if isinstance(shape, inspect.DictType):
        key, _ = limits(shape.key_type)
        choices = len(key.values) if isinstance(key, inspect.LiteralType) else None
        return _least((shape.max_length, given.get("maxProperties"), choices))
    return _least((shape.max_length, given.get("maxItems")))


def largest(shape: inspect.Type, room: int, fresh: Iterator[int] | None = None) -> Any:  # noqa: PLR0911 one for each kind of type
    """Return the largest legal value of a type that has at most `room` bytes, as plain values.

    Of what is too large altogether one part is as large as it may be, and others get what is left.
    """
    fresh = count() if fresh is None else fresh
    bare, given = limits(shape)
    room = min(room, given.get(BYTES, room))
    match bare:
        case inspect.StrType():
            return _text(bare, given, room, fresh)
        case inspect.IntType():
            return min(number for number in (bare.le, given.get("maximum")) if number is not None)
        case inspect.LiteralType():
            return max(bare.values, key=size)
        case inspect.UnionType():
            return largest(max(bare.types, key=bound), room, fresh)
        case inspect.StructType():
            return _struct(bare, room, fresh)
        case inspect.TupleType():
            return [largest(part, room, fresh) for part in bare.item_types]
        case inspect.VarTupleType():
            return _items(bare, given, room, fresh)
        case inspect.DictType():
            return _entries(bare, given, room, fresh)
        case _:
            return _PLAIN[type(bare)]


def _struct(shape: inspect.StructType, room: int, fresh: Iterator[int]) -> dict[str, Any]:
    if shape.cls in _ONE_OF:
        return dict(_ONE_OF[shape.cls])
    found = dict(_WORDS) if shape.cls is Target else {}
    for field in sorted(shape.fields, key=lambda field: bound(field.type)):
        if field.encode_name not in found:
            left = room - size(found) - len(field.encode_name) - 4
            found[field.encode_name] = largest(field.type, left, fresh)
    return found


def _items(shape: Any, given: Mapping[str, Any], room: int, fresh: Iterator[int]) -> list[Any]:
    found: list[Any] = []
    left = room - 2
    while len(found) < (count_max(shape, given) or room):
        item = largest(shape.item_type, left, fresh)
        left -= size(item) + 1
        if left < 0:
            break
        found.append(item)
    return found or [largest(shape.item_type, 0, fresh)] * (shape.min_length or 0)


def _entries(
    shape: inspect.DictType, given: Mapping[str, Any], room: int, fresh: Iterator[int]
) -> dict[str, Any]:
    key_type, _ = limits(shape.key_type)
    choices = iter(key_type.values) if isinstance(key_type, inspect.LiteralType) else None
    found: dict[str, Any] = {}
    left = room - 2
    for _ in range(count_max(shape, given) or room):
        key = largest(shape.key_type, left, fresh) if choices is None else next(choices)
        value = largest(shape.value_type, left - size(key) - 2, fresh)
        left -= size(key) + size(value) + 2
        if left < 0:
            break
        found[key] = value
    return found


def _text(shape: inspect.StrType, given: Mapping[str, Any], room: int, fresh: Iterator[int]) -> str:
    if shape.pattern in _PATTERNS:
        return _PATTERNS[shape.pattern](next(fresh))
    length = _least((shape.max_length, given.get("maxLength"))) or 0
    wide = CLEF if shape.pattern == KEY_PATTERN else CONTROL
    first = str(next(fresh))[: max(length, 1)]
    fitting = min(length - len(first), (room - 2 - len(first)) // _width(shape))
    return first + wide * max(0, fitting)


def _width(shape: inspect.StrType) -> int:
    return len(CLEF.encode()) if shape.pattern == KEY_PATTERN else len(r"\u0001")


def _least(given: tuple[int | None, ...]) -> int | None:
    return min((number for number in given if number is not None), default=None)


def _most(given: tuple[int | None, ...]) -> int | None:
    return max((number for number in given if number is not None), default=None)
