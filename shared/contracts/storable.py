"""What JSON can say and PostgreSQL cannot keep: U+0000 in a text, an instant that has no UTC."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, cast

import msgspec

_BACKSLASH: Final = 0x5C


def is_suspect(value: bytes) -> bool:
    """Say whether it is worth a closer look; the cheap search nearly always ends the matter."""
    if _BACKSLASH in value and b"\\u0000" in value:  # one byte is found ten times sooner than six
        return True
    return b'"0001-01-01' in value or b'"9999-12-31' in value


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
