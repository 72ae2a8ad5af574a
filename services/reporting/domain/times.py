"""Many durations in little space: their exact sum, and how many lie in each bin of a histogram.

Everything is whole microseconds and whole counts, so that what is added in any order, in any parts,
is the same to the last bit.
"""

from array import array
from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from typing import Final

import msgspec

from shared.buckets import HOUR_US

RELATIVE_ERROR_MAX: Final = 1 / 128
_BINS_LOG2: Final = 6
_EXACT_BITS: Final = _BINS_LOG2 + 1
_LOOSE_MAX: Final = 3  # a bin of 2 bytes, beside a bin and a count of 6


class PackedTimes(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Times at rest: two little-endian arrays, of bins in order (int16) and of counts (uint32).

    Without counts, each bin stands as often as it counts: where that is shorter, it is quicker too.
    """

    total_us: int
    bins: bytes
    counts: bytes


_NO_TIMES: Final = PackedTimes(0, b"", b"")


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """`n` values and where they lie; percentiles by linear interpolation."""

    n: int
    mean: float | None
    median: float | None
    p90: float | None
    p95: float | None


def bin_of(value_us: int) -> int:
    """Return the bin of a duration: 64 to each doubling, one for each value below 128 µs.

    A negative duration (a clock that was wrong) has the mirrored bin.
    """
    if value_us < 0:
        return -bin_of(-value_us)
    shift = max(0, value_us.bit_length() - _EXACT_BITS)
    return (shift << _BINS_LOG2) + (value_us >> shift)


def middle_us(number: int) -> float:
    """Return the middle of a bin; no value in it is further off than `RELATIVE_ERROR_MAX`."""
    if number < 0:
        return -middle_us(-number)
    shift = max(0, (number >> _BINS_LOG2) - 1)
    first = (number - (shift << _BINS_LOG2)) << shift
    return first + ((1 << shift) - 1) / 2


def percentile(ordered: list[float], share: float) -> float:
    """Return the value below which `share` of the sorted, non-empty list lies.

    Source: linear interpolation at rank (n − 1) × share (Hyndman and Fan, type 7).
    """
    rank = (len(ordered) - 1) * share
    below = int(rank)
    if below + 1 >= len(ordered):
        return ordered[-1]
    return ordered[below] + (ordered[below + 1] - ordered[below]) * (rank - below)


class Times:
    """Durations being added up: single ones, and many at once that were packed.

    Where they are to be `exact`, each is kept, and none can be taken packed; else only its bin.
    """

    __slots__ = ("_bins", "_loose", "_total_us", "_values_us", "n")

    def __init__(self, *, is_exact: bool = False) -> None:
        self.n = 0
        self._total_us = 0
        self._bins: Counter[int] = Counter()
        self._loose = array("h")
        self._values_us: list[int] | None = [] if is_exact else None

    def add(self, value_us: int) -> None:
        """Add one duration."""
        self.n += 1
        self._total_us += value_us
        if self._values_us is None:
            self._loose.append(bin_of(value_us))
        else:
            self._values_us.append(value_us)

    def take_packed(self, packed: PackedTimes) -> None:
        """Add many; which they were is known no more closely than their bins."""
        self._total_us += packed.total_us
        numbers = array("h", packed.bins)
        if not packed.counts:
            self.n += len(numbers)
            self._loose.extend(numbers)
            return
        counts = array("I", packed.counts)
        self.n += sum(counts)
        bins = self._bins
        for number, count in zip(numbers, counts, strict=True):
            bins[number] = bins.get(number, 0) + count

    def take(self, other: "Times") -> None:
        """Add what another has."""
        self.n += other.n
        self._total_us += other._total_us  # noqa: SLF001 its like
        self._bins.update(other._bins)  # noqa: SLF001
        self._loose.extend(other._loose)  # noqa: SLF001
        if self._values_us is not None:
            self._values_us += other._values_us or ()  # noqa: SLF001

    def packed(self) -> PackedTimes:
        """Return all that was added, packed: the same bytes for the same durations."""
        if not self.n:
            return _NO_TIMES
        bins = self._counted()
        if self.n <= _LOOSE_MAX * len(bins):
            loose = [number for number, count in bins for _ in range(count)]
            return PackedTimes(self._total_us, array("h", loose).tobytes(), b"")
        return PackedTimes(
            self._total_us,
            array("h", [number for number, _ in bins]).tobytes(),
            array("I", [count for _, count in bins]).tobytes(),
        )

    def distribution(self) -> Distribution:
        """Return mean and percentiles in hours."""
        if not self.n:
            return Distribution(n=0, mean=None, median=None, p90=None, p95=None)
        if self._values_us is None:
            median, p90, p95 = self._estimates((0.5, 0.9, 0.95))
        else:
            ordered = [float(value) for value in sorted(self._values_us)]
            median, p90, p95 = (percentile(ordered, share) for share in (0.5, 0.9, 0.95))
        return Distribution(
            n=self.n,
            mean=self._total_us / (self.n * HOUR_US),
            median=median / HOUR_US,
            p90=p90 / HOUR_US,
            p95=p95 / HOUR_US,
        )

    def _counted(self) -> list[tuple[int, int]]:
        """Return the bins in order, each with its count."""
        if self._loose:
            self._bins.update(self._loose)
            self._loose = array("h")
        return sorted(self._bins.items())

    def _estimates(self, shares: tuple[float, ...]) -> list[float]:
        bins = self._counted()
        passed = list(accumulate(count for _, count in bins))

        def at_rank(rank: int) -> float:
            place = bisect_right(passed, rank)
            return middle_us(bins[min(place, len(bins) - 1)][0])

        found: list[float] = []
        for share in shares:
            rank = (self.n - 1) * share
            below = at_rank(int(rank))
            found.append(below + (at_rank(int(rank) + 1) - below) * (rank - int(rank)))
        return found
