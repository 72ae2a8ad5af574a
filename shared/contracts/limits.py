"""Limits for who writes: found in the types, asked for where something is written (ADR 0023).

A value of a limited type that is over its limit may have been written before there was one, so
whoever reads stored events does not ask.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec import UNSET, inspect

from shared.contracts.base import BYTES
from shared.contracts.visible import is_blank
from shared.errors import InvalidInputError
from shared.wording import of_msgspec


class Excess(NamedTuple):
    """A part that is over its limit: its JSON pointer, and what it must be."""

    pointer: str
    reason: str


Check = Callable[[Any], Excess | None]
_COMPLAINTS: Final = {
    "maxLength": "Expected `str` of length <= {}",
    "maxItems": "Expected `array` of length <= {}",
    "maxProperties": "Expected `object` of length <= {}",
    "maximum": "Expected `int` <= {}",
    "minimum": "Expected `int` >= {}",
}


def excess(value: object) -> Excess | None:
    """Return the first part of a struct that is over a limit for who writes, if there is one."""
    check = _check_of(type(value))
    return None if check is None else check(value)


def require_within(value: object, *, base: str = "") -> None:
    """Raise InvalidInputError, naming the part, if one of a struct is over its limit.

    A text that must not be empty must not be blank either, for who sends it; what the desk writes
    of its own accord may repeat one that was taken before. `base` is the JSON pointer of the struct
    within what was sent.
    """
    check = _door_check_of(type(value))
    if check is not None and (found := check(value)):
        field = base + found.pointer
        raise InvalidInputError(f"{field}: {found.reason}.", field=field)


@cache
def _check_of(type_: type[Any]) -> Check | None:
    return _of(inspect.type_info(type_), _any_text)


@cache
def _door_check_of(type_: type[Any]) -> Check | None:
    return _of(inspect.type_info(type_), _visible_text)


OfText = Callable[[inspect.StrType], Check | None]
"""What is asked of a text beside its limits."""


def _any_text(_: inspect.StrType) -> None:
    return None


def _visible_text(shape: inspect.StrType) -> Check | None:
    return _blank if shape.min_length else None


def _blank(value: str) -> Excess | None:
    return Excess("", "must not be blank: nothing in it can be seen") if is_blank(value) else None


def _of(  # noqa: PLR0911 one return per kind of type
    shape: inspect.Type, of_text: OfText
) -> Check | None:
    """Return what looks for an excess in a value of a shape; None where there can be none."""
    match shape:
        case inspect.Metadata():
            limits = cast("dict[str, Any]", shape.extra_json_schema or {})  # pyright: ignore[reportUnknownMemberType]
            own = _of_limits(limits)
            return _first([*own, _of(shape.type, of_text)])
        case inspect.StrType():
            return of_text(shape)
        case inspect.UnionType():
            return _of_union(shape, of_text)
        case inspect.StructType():
            checks = [(field, _of(field.type, of_text)) for field in shape.fields]
            return _of_parts(
                [(f.name, f.encode_name, check) for f, check in checks if check is not None]
            )
        case inspect.VarTupleType() | inspect.ListType():
            return _of_items(_of(shape.item_type, of_text))
        case inspect.DictType():
            key, value = _of(shape.key_type, of_text), _of(shape.value_type, of_text)
            return _of_entries(key, value)
        case _:
            return None


def _of_limits(limits: Mapping[str, Any]) -> Iterator[Check]:
    """Yield a check for each limit; the cheap ones, of length, come before that of bytes."""
    for name, limit in limits.items():
        if name in {"maxLength", "maxItems", "maxProperties"}:
            reason = of_msgspec(_COMPLAINTS[name].format(limit))
            yield (
                lambda value, limit=limit, reason=reason: (
                    Excess("", reason) if len(value) > limit else None
                )
            )
        elif name in {"maximum", "minimum"}:
            reason = of_msgspec(_COMPLAINTS[name].format(limit))
            sign = 1 if name == "maximum" else -1
            yield (
                lambda value, limit=limit, reason=reason, sign=sign: (
                    Excess("", reason) if sign * value > sign * limit else None
                )
            )
    if (limit := limits.get(BYTES)) is not None:
        yield lambda value: _over_bytes(value, limit)


def _over_bytes(value: object, limit: int) -> Excess | None:
    size = len(msgspec.json.encode(value))
    return Excess("", f"has {size} bytes as JSON; {limit} are taken") if size > limit else None


def _first(checks: Iterable[Check | None]) -> Check | None:
    wanted = [check for check in checks if check is not None]
    if len(wanted) < 2:
        return wanted[0] if wanted else None

    def first(value: object) -> Excess | None:
        for check in wanted:
            if found := check(value):
                return found
        return None

    return first


def _of_parts(checks: list[tuple[str, str, Check]]) -> Check | None:
    def parts(value: object) -> Excess | None:
        for attribute, name, check in checks:
            part = getattr(value, attribute)
            if part is not UNSET and (found := check(part)):
                return Excess(f"/{name}{found.pointer}", found.reason)
        return None

    return parts if checks else None


def _of_items(check: Check | None) -> Check | None:
    if check is None:
        return None

    def items(value: Iterable[Any]) -> Excess | None:
        for place, item in enumerate(value):
            if found := check(item):
                return Excess(f"/{place}{found.pointer}", found.reason)
        return None

    return items


def _of_entries(of_key: Check | None, of_value: Check | None) -> Check | None:
    if of_key is None and of_value is None:
        return None

    def entries(value: Mapping[str, Any]) -> Excess | None:
        for key, item in value.items():
            if of_key is not None and (found := of_key(key)):
                return Excess("", f"a key {found.reason}")
            if of_value is not None and (found := of_value(item)):
                step = key.replace("~", "~0").replace("/", "~1")
                return Excess(f"/{step}{found.pointer}", found.reason)
        return None

    return entries


_KINDS: Final[Mapping[type[inspect.Type], type[Any]]] = {
    inspect.StrType: str,
    inspect.IntType: int,
    inspect.VarTupleType: tuple,
    inspect.DictType: dict,
}


def _of_union(shape: inspect.UnionType, of_text: OfText) -> Check | None:
    """Return a check that looks at what kind a value is of; a union has one type of each."""
    checks: dict[type[Any], Check] = {}
    for part in shape.types:
        check = _of(part, of_text)
        if check is not None:
            checks[_kind(part)] = check
    if not checks:
        return None

    def by_kind(value: object) -> Excess | None:
        check = checks.get(type(value))
        return None if check is None else check(value)

    return by_kind


def _kind(shape: inspect.Type) -> type[Any]:
    bare = shape.type if isinstance(shape, inspect.Metadata) else shape
    if isinstance(bare, inspect.StructType):
        return cast("type[Any]", bare.cls)
    return _KINDS[type(bare)]
