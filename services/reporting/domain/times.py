"""Many durations in little space: each of them, in order, so that percentiles are exact.

Everything is whole microseconds, so that what is added in any order, in any parts, is the same to
the last bit. Sums are whole numbers of Python, for they may be larger than an array's.
"""

from typing import Final

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


class PackedTimes(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Times at rest: their sum, the least, and by how much each is more than the one before.

    `width` is the bytes of each of these numbers, little-endian.
    """

    total_us: int
    first_us: int
    width: int
    steps: bytes


_NO_TIMES: Final = PackedTimes(0, 0, 0, b"")
_OF_WIDTH: Final = {kind.itemsize: kind for kind in _WIDTHS}


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


class Times:
    """Durations being added up: single ones, and many at once that were packed."""

    __slots__ = ("_arrays", "_loose", "_total_us", "n")

    def __init__(self) -> None:
        self.n = 0
        self._total_us = 0
        self._loose: list[int] = []
        self._arrays: list[_Values] = []

    def add(self, value_us: int) -> None:
        """Add one duration."""
        self.n += 1
        self._total_us += value_us
        self._loose.append(value_us)

    def take_packed(self, packed: PackedTimes) -> None:
        """Add many."""
        if not packed.width:
            return
        steps = np.frombuffer(packed.steps, _OF_WIDTH[packed.width])
        values = np.cumsum(steps, dtype=np.int64)
        values += packed.first_us
        self._take(values, packed.total_us)

    def take(self, other: "Times") -> None:
        """Add what another has."""
        if other.n:
            self._take(other._values(), other._total_us)  # noqa: SLF001 its like

    def packed(self) -> PackedTimes:
        """Return all that was added, packed: the same bytes for the same durations."""
        if not self.n:
            return _NO_TIMES
        ordered = np.sort(self._values(), kind="stable")
        first_us = int(ordered[0])
        steps = np.diff(ordered, prepend=first_us)
        most = int(steps.max())
        kind = next(kind for kind in _WIDTHS if most <= np.iinfo(kind).max)
        return PackedTimes(self._total_us, first_us, kind.itemsize, steps.astype(kind).tobytes())

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

    def _take(self, values: _Values, total_us: int) -> None:
        self.n += len(values)
        self._total_us += total_us
        self._arrays.append(values)

    def _values(self) -> _Values:
        """Return all durations in one array."""
        if self._loose:
            self._arrays.append(np.array(self._loose, np.int64))
            self._loose = []
        if len(self._arrays) > 1:
            self._arrays = [np.concatenate(self._arrays)]
        return self._arrays[0]
