"""How time is cut into buckets, and which of them make up a period.

A bucket is so many hours of UTC, numbered since 1970; the buckets of a size are made of those of
the size below.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

HOUR_US: Final = 3_600_000_000
SIZES: Final = (1, 24, 192, 1_536, 12_288)
"""Hours: an hour, a day, 8, 64 and 512 days. Fewer would do for correctness, not for speed."""


class BucketSpan(NamedTuple):
    """Buckets of one size that follow one another, first and last."""

    size: int
    first: int
    last: int


class Broken:
    """Buckets that cannot be taken whole: hours out of date or with an edge within, all above."""

    __slots__ = ("_numbers",)

    def __init__(self, stale_hours: Iterable[int]) -> None:
        hours = set(stale_hours)
        self._numbers = {size: {hour // size for hour in hours} for size in SIZES}

    @property
    def hours(self) -> AbstractSet[int]:
        """The hours among them: their tickets must be read one by one."""
        return self._numbers[1]

    def cut(self, at_us: int) -> None:
        """Break the buckets that have the instant within, not at their start."""
        for size, numbers in self._numbers.items():
            if at_us % (size * HOUR_US):
                numbers.add(at_us // (size * HOUR_US))

    def spoil(self, size: int, number: int) -> None:
        """Break one bucket; its parts may still be whole."""
        self._numbers[size].add(number)

    def whole(self, first_us: int, last_us: int) -> list[BucketSpan]:
        """Return the fewest buckets that hold all between two instants but the broken hours.

        Where anything lies beyond one of the instants, that one must have been cut.
        """
        first_hour, last_hour = first_us // HOUR_US, last_us // HOUR_US
        top = SIZES[-1]
        asked = [(first_hour // top, last_hour // top)]
        spans: list[BucketSpan] = []
        for place in reversed(range(len(SIZES))):
            size = SIZES[place]
            numbers = sorted(self._numbers[size])
            for first, last in asked:
                spans += _without(size, first, last, numbers)
            if place:
                smaller = SIZES[place - 1]
                asked = [
                    (
                        max(number * size, first_hour) // smaller,
                        min(number * size + size - 1, last_hour) // smaller,
                    )
                    for number in numbers
                    if number * size <= last_hour and first_hour < (number + 1) * size
                ]
        return spans


def _without(size: int, first: int, last: int, broken: list[int]) -> Iterator[BucketSpan]:
    begin = first
    for number in broken[bisect_left(broken, first) : bisect_right(broken, last)]:
        if begin < number:
            yield BucketSpan(size, begin, number - 1)
        begin = number + 1
    if begin <= last:
        yield BucketSpan(size, begin, last)


def ranges_us(hours: Iterable[int]) -> list[tuple[int, int]]:
    """Return hours as intervals of microseconds, neighbours joined."""
    return joined([(hour * HOUR_US, (hour + 1) * HOUR_US) for hour in hours])


def joined(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return intervals in order, joined where they touch or overlap."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found
