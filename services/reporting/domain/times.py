"""Many durations in little space: each of them, in order, so that percentiles are exact.

Everything is whole microseconds, so that what is added in any order, in any parts, is the same to
the last bit. Sums are whole numbers of Python, for they may be larger than an array's.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.buckets import HOUR_US

PERCENTILE_TYPE: Final = 7
"""Linear interpolation at rank (n − 1) × share, counted from 0.

Source: Hyndman and Fan, Sample Quantiles in Statistical Packages, 1996, type 7; the same as
`PERCENTILE.INC` of spreadsheets, `percentile_cont` of SQL, numpy's and R's own.
"""
_SHARES: Final = (0.5, 0.9, 0.95)
_WIDTHS: Final = (np.dtype("<u2"), np.dtype("<u4"), np.dtype("<i8"))
_Values = NDArray[np.int64]
_Places = NDArray[np.intp]


class PackedTimes(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Times at rest: their sum, the least, and by how much each is more than the one before.

    `width` is the bytes of each of these numbers, little-endian. Of few numbers that need more,
    such as the gap before a ticket that lay for months, `wide` has place and value; in `steps`
    they are 0, and `width` is negative: a version that does not know `wide` has no such width.
    """

    total_us: int
    first_us: int
    width: int
    steps: bytes
    wide: tuple[tuple[int, int], ...] = ()


_NO_TIMES: Final = PackedTimes(0, 0, 0, b"")
_OF_WIDTH: Final = {kind.itemsize: kind for kind in _WIDTHS}
_WIDE_BYTES: Final = 16
"""What one of `wide` takes, about."""


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """`n` values and where they lie; percentiles by linear interpolation."""

    n: int
    mean: float | None
    median: float | None
    p90: float | None
    p95: float | None


def percentiles(values: _Values) -> list[float]:
    """Return median, p90 and p95 of some values, in no order; there must be one."""
    last = len(values) - 1
    ranks = [last * share for share in _SHARES]
    wanted = sorted({place for rank in ranks for place in (int(rank), min(int(rank) + 1, last))})
    ordered = np.partition(values, wanted)
    found: list[float] = []
    for rank in ranks:
        below = int(ordered[int(rank)])
        above = int(ordered[min(int(rank) + 1, last)])
        found.append(below + (above - below) * (rank - int(rank)))
    return found


def _pack_steps(steps: _Values) -> tuple[int, bytes, tuple[tuple[int, int], ...]]:
    """Return the width that takes least, all numbers that fit into it, and the others."""
    found: list[tuple[int, np.dtype[Any], _Places]] = []
    for kind in _WIDTHS:
        places = np.flatnonzero(steps > np.iinfo(kind).max)
        found.append((len(steps) * kind.itemsize + len(places) * _WIDE_BYTES, kind, places))
    _, kind, places = min(found, key=itemgetter(0))
    wide = tuple(zip(places.tolist(), steps[places].tolist(), strict=True))
    narrow = steps.copy()
    narrow[places] = 0
    width = -kind.itemsize if wide else kind.itemsize
    return width, narrow.astype(kind).tobytes(), wide


def _unpack(packed: Sequence[PackedTimes], width: int) -> _Values:
    """Return the times of all of one width, together: a call for each would cost more than they.

    Summed up over the borders of the parts, which each part then takes off again.
    """
    steps = np.frombuffer(b"".join(one.steps for one in packed), _OF_WIDTH[width])
    lengths = np.array([len(one.steps) // width for one in packed])
    starts = np.cumsum(lengths) - lengths
    wide = [
        (start + place, step)
        for start, one in zip(starts.tolist(), packed, strict=True)
        for place, step in one.wide
    ]
    if wide:
        steps = steps.astype(np.int64)
        places, values = zip(*wide, strict=True)
        steps[list(places)] = values
    sums = np.cumsum(steps, dtype=np.int64)
    firsts = np.array([one.first_us for one in packed], np.int64)
    sums += np.repeat(firsts - sums[starts], lengths)
    return sums


class Times:
    """Durations being added up: single ones, and many at once that were packed."""

    __slots__ = ("_arrays", "_loose", "_packed", "_total_us", "n")

    def __init__(self) -> None:
        self.n = 0
        self._total_us = 0
        self._loose: list[int] = []
        self._arrays: list[_Values] = []
        self._packed: dict[int, list[PackedTimes]] = {}

    def add(self, value_us: int) -> None:
        """Add one duration."""
        self.n += 1
        self._total_us += value_us
        self._loose.append(value_us)

    def take_packed(self, packed: PackedTimes) -> None:
        """Add many."""
        if packed.width:
            width = abs(packed.width)
            self.n += len(packed.steps) // width
            self._total_us += packed.total_us
            self._packed.setdefault(width, []).append(packed)

    def take(self, other: "Times") -> None:
        """Add what another has."""
        if other.n:
            self.n += other.n
            self._total_us += other._total_us  # noqa: SLF001 its like
            self._arrays.append(other._values())  # noqa: SLF001 its like

    def packed(self) -> PackedTimes:
        """Return all that was added, packed: the same bytes for the same durations."""
        if not self.n:
            return _NO_TIMES
        ordered = np.sort(self._values(), kind="stable")
        first_us = int(ordered[0])
        return PackedTimes(
            self._total_us, first_us, *_pack_steps(np.diff(ordered, prepend=first_us))
        )

    def distribution(self) -> Distribution:
        """Return mean and percentiles in hours."""
        if not self.n:
            return Distribution(n=0, mean=None, median=None, p90=None, p95=None)
        median, p90, p95 = percentiles(self._values())
        return Distribution(
            n=self.n,
            mean=self._total_us / (self.n * HOUR_US),
            median=median / HOUR_US,
            p90=p90 / HOUR_US,
            p95=p95 / HOUR_US,
        )

    def _values(self) -> _Values:
        """Return all durations in one array."""
        arrays = self._arrays + [_unpack(some, width) for width, some in self._packed.items()]
        if self._loose:
            arrays.append(np.array(self._loose, np.int64))
        self._loose, self._packed = [], {}
        self._arrays = [np.concatenate(arrays) if len(arrays) > 1 else arrays[0]]
        return self._arrays[0]
