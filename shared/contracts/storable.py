"""What JSON can say and PostgreSQL cannot keep: U+0000 in a text, an instant that has no UTC."""

from collections.abc import Iterator
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Final, cast

import msgspec

_BACKSLASH: Final = 0x5C
_FAR: Final = (MINYEAR, MAXYEAR)


def is_suspect(value: bytes, *, has_instants: bool = True) -> bool:
    """Say whether it is worth a closer look; the cheap search nearly always ends the matter.

    Where there are no instants, their part of the search is spared.
    """
    if _BACKSLASH in value and b"\\u0000" in value:  # one byte is found ten times sooner than six
        return True
    return has_instants and (b'"0001-01-01' in value or b'"9999-12-31' in value)


def is_far(at: datetime | None) -> bool:
    """Say whether an instant is in a year in which it may have no UTC."""
    return at is not None and at.year in _FAR


def unstorable(part: object) -> str | None:
    """Return what is wrong with a decoded part, or None."""
    for leaf in _leaves(part):
        if isinstance(leaf, str):
            if "\0" in leaf:
                return "a text holds the character U+0000"
        else:
            try:
                leaf.astimezone(UTC)
            except OverflowError:
                return f"{leaf.isoformat()} has no UTC"
    return None


def _leaves(part: object) -> Iterator[str | datetime]:
    if isinstance(part, str | datetime):
        yield part
    elif isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            yield from _leaves(getattr(part, name))
    elif isinstance(part, list | tuple | set | frozenset):
        for item in cast("list[object]", part):
            yield from _leaves(item)
    elif isinstance(part, dict):
        for key, item in cast("dict[object, object]", part).items():
            yield from _leaves(key)
            yield from _leaves(item)
