"""An event of every type in all its shapes, made from the contracts: always the same ones."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from shared.contracts.base import EventData
from shared.contracts.knowledge import ArticleRevised
from shared.contracts.registry import EVENTS, Recorded
from shared.ids import event_id

_START = datetime(2026, 1, 5, 9, tzinfo=UTC)
_PLAIN: dict[Any, tuple[Any, ...]] = {
    str: ("a word", "another", "third"),
    int: (1, 2, 3),
    float: (0.5, 0.25),
    bool: (True, False),
    UUID: (UUID(int=1), UUID(int=2)),
    datetime: (_START, _START + timedelta(hours=30)),
    NoneType: (None,),
    msgspec.UnsetType: (msgspec.UNSET,),
    bytes: (b"x",),
    Any: ("anything", 7),
    object: ("anything", 7),
}

_ADDED: dict[type, tuple[str, ...]] = {ArticleRevised: ("status", "authors")}
"""Optional fields of events that came when digests of folds had been kept already."""


def sample_events() -> Iterator[Recorded]:
    """Yield events of every type; each value that a field may have is in one of them."""
    for writer, types in EVENTS.items():
        sequences: dict[str, int] = {}
        for data_type in types:
            for data in _values(data_type):
                stream = data.stream_id
                sequence = sequences[stream] = sequences.get(stream, 0) + 1
                yield _recorded(writer, data, sequence)


def added_samples() -> Iterator[tuple[Recorded, Recorded]]:
    """Yield events without and with each value of each field that was added since."""
    for writer, types in EVENTS.items():
        for kind in types:
            before = _values(kind)[0]
            hints = get_type_hints(kind)
            for name in _ADDED.get(kind, ()):
                for value in _values(hints[name]):
                    after = msgspec.structs.replace(before, **{name: value})
                    yield _recorded(writer, before, 1), _recorded(writer, after, 1)


def _recorded(writer: str, data: EventData, sequence: int) -> Recorded:
    """Return the event as if decoded; limits of its contract do not matter to a fold."""
    at = _START + timedelta(minutes=sequence)
    return Recorded(
        writer=writer,
        stream_id=data.stream_id,
        sequence=sequence,
        event_id=event_id(writer, data.stream_id, sequence),
        time=at,
        recorded_at=at,
        data=data,
        actor="sample",
        correlation_id="c",
        causation_id=None,
        history=False,
        value=f"{data.TYPE} {sequence}".encode(),  # not its bytes: a new field changes no fold
    )


def _values(hint: Any) -> tuple[Any, ...]:  # noqa: PLR0911 one answer per kind of type
    """Return values of a type, few but of every kind."""
    hint = getattr(hint, "__value__", hint)
    origin = get_origin(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin in {Union, UnionType}:
        return tuple(value for part in get_args(hint) for value in _values(part))
    if origin is Literal:
        return get_args(hint)
    if origin is tuple:
        item = get_args(hint)
        if len(item) == 2 and item[1] is Ellipsis:
            return ((), _values(item[0]))
        return (tuple(_values(part)[0] for part in item),)
    if origin is list:
        return ([], list(_values(get_args(hint)[0])))
    if origin is dict or (origin is not None and issubclass(origin, dict)):
        key, value = get_args(hint)
        return ({}, {_values(key)[0]: _values(value)[0]})
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _structs(hint)
    if origin is not None and get_args(hint):  # Annotated, Mapping and the like
        return _values(get_args(hint)[0])
    raise TypeError(f"no samples of {hint}")


def _structs(kind: type[msgspec.Struct]) -> tuple[Any, ...]:
    """Return structs with each value of each field, with each optional field alone, and with all
    combinations of words and flags.
    """
    hints = get_type_hints(kind)
    known = [f for f in msgspec.structs.fields(kind) if f.name not in _ADDED.get(kind, ())]
    fields = {field.name: _values(hints[field.name]) for field in known}
    count = max(map(len, fields.values()), default=1)
    least = {f.name: fields[f.name][0] for f in known if f.required}
    words = [n for n in fields if hints[n] is bool or get_origin(hints[n]) is Literal]
    first = {name: values[0] for name, values in fields.items()}
    wanted = [
        *(
            {**first, **dict(zip(words, chosen, strict=True))}
            for chosen in product(*(fields[name] for name in words))
        ),
        *({name: v[number % len(v)] for name, v in fields.items()} for number in range(count)),
        *({**least, name: values[0]} for name, values in fields.items() if name not in least),
    ]
    made: list[msgspec.Struct] = []
    for columns in wanted:
        with suppress(ValueError):  # fields that exclude each other
            made.append(kind(**columns))
    return tuple(made)
