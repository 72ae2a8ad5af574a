"""Which keys two JSON values differ in: a rule or a review, and its next version."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, cast

import msgspec


class Differs(msgspec.Struct, frozen=True):
    """A key that a new version changes; null stands for what is not there."""

    pointer: str
    before: Any
    after: Any


def differing(before: Any, after: Any, pointer: str = "") -> Iterator[Differs]:  # noqa: ANN401 JSON
    """Yield the innermost keys in which two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        for name in sorted(old.keys() | new.keys()):
            yield from differing(old.get(name), new.get(name), f"{pointer}/{name}")
    elif isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        pairs = zip_longest(cast("Sequence[Any]", before), cast("Sequence[Any]", after))
        for place, (one, other) in enumerate(pairs):
            yield from differing(one, other, f"{pointer}/{place}")
    elif before != after:
        yield Differs(pointer, before, after)
