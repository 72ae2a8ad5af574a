"""What came and went: how many tickets were created, resolved, closed, merged, gone, and when.

Counts are kept by slot: a day of UTC, and a quarter of an hour where some zone's month begins, from
10:00 on the last day of a month to 12:00 on the first. An instant within a slot, such as the start
of a period, cuts it: then the caller counts what lies before it in its slot.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import cache
from itertools import accumulate, pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from services.reporting.domain.tally import TicketRow
from shared.months import Months

_QUARTER_US: Final = 900_000_000
_QUARTERS: Final = 96
_EARLIEST: Final = 40
_LATEST: Final = 48
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_YEAR_MONTHS: Final = 12

_decode: Final = msgspec.msgpack.Decoder(tuple[tuple[bytes, bytes], ...]).decode


class Passages(NamedTuple):
    """How many tickets were created, resolved, closed, cancelled, merged, and gone.

    A ticket is gone when it is closed, cancelled or merged, whatever came first.
    """

    created: int
    resolved: int
    closed: int
    cancelled: int
    merged: int
    gone: int


class MonthFlow(msgspec.Struct, frozen=True, kw_only=True):
    """What came and went in a month `YYYY-MM`; `backlog` is what was open at its end."""

    month: str
    created: int
    resolved: int
    closed: int
    cancelled: int
    merged: int
    backlog: int


@cache
def _edges(day: int) -> tuple[int, int]:
    """Return from where to where in the day, in quarters of an hour, months may begin."""
    on = date.fromordinal(_EPOCH_DAY + day)
    if on.day == 1:
        return 0, _LATEST
    if (on + timedelta(days=1)).day == 1:
        return _EARLIEST, _QUARTERS
    return 0, 0


def _slot(at_us: int) -> int:
    """Return the slot of an instant, named by its first quarter of an hour since 1970."""
    quarter = at_us // _QUARTER_US
    first, after = _edges(quarter // _QUARTERS)
    within = quarter % _QUARTERS
    if first <= within < after:
        return quarter
    return quarter - within + (after if within >= after else 0)


class Flow:
    """Tickets counted by the slots of what happened to them."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = tuple(dict[int, int]() for _ in Passages._fields)

    def add(self, row: TicketRow) -> None:
        """Count a ticket."""
        for counts, at_us in zip(self._counts, passages_us(row), strict=True):
            if at_us is not None:
                slot = _slot(at_us)
                counts[slot] = counts.get(slot, 0) + 1

    def take_packed(self, packed: bytes) -> None:
        """Count what was counted before."""
        for mine, (slots, counts) in zip(self._counts, _decode(packed), strict=True):
            for slot, count in zip(array("i", slots), array("I", counts), strict=True):
                mine[slot] = mine.get(slot, 0) + count

    def packed(self) -> bytes:
        """Return all counts, the same bytes for the same tickets."""
        ordered = self.in_order()
        return msgspec.msgpack.encode(
            [
                (
                    array("i", [slot for slot, _ in counts]).tobytes(),
                    array("I", [count for _, count in counts]).tobytes(),
                )
                for counts in ordered
            ]
        )

    def in_order(self) -> list[list[tuple[int, int]]]:
        """Return the counts of each kind of passage by slot, in order."""
        return [sorted(counts.items()) for counts in self._counts]


def passages_us(row: TicketRow) -> tuple[int | None, ...]:
    """Return when the ticket was created, resolved, closed, cancelled, merged and gone.

    A solution of a ticket that went on in another is not counted: it is counted there.
    """
    ends = row.closed_us, row.cancelled_us, row.merged_us
    gone = [at_us for at_us in ends if at_us is not None]
    gone_us = max(row.created_us, min(gone)) if gone else None
    resolved_us = row.resolved_us if row.merged_us is None else None
    return row.created_us, resolved_us, *ends, gone_us


class FlowReport:
    """The months of a flow; `cuts` names the instants for which more must be known."""

    __slots__ = ("_bounds", "_months", "_sums", "cuts")

    def __init__(
        self, flow: Flow, zone: ZoneInfo, start_us: int | None, end_us: int | None
    ) -> None:
        ordered = flow.in_order()
        used = [counts for counts in ordered if counts]
        self._months = None
        if used:
            first, last = min(c[0][0] for c in used), max(c[-1][0] for c in used)
            last_us = (last + _QUARTERS) * _QUARTER_US - 1
            self._months = Months(zone, first * _QUARTER_US, last_us)
        self._bounds = start_us, end_us
        self._sums = [
            (
                [slot for slot, _ in counts],
                [0, *accumulate(count for _, count in counts)],
            )
            for counts in ordered
        ]
        self.cuts: dict[int, int] = dict(self._find_cuts())
        """Instants within a slot, and where that slot begins, in microseconds since 1970."""

    def _find_cuts(self) -> Iterator[tuple[int, int]]:
        months = [] if self._months is None else self._months.starts_us
        for at_us in (*(bound for bound in self._bounds if bound is not None), *months):
            slot = _slot(at_us)
            if slot * _QUARTER_US != at_us and self._has(slot):
                yield at_us, slot * _QUARTER_US

    def _has(self, slot: int) -> bool:
        places = ((slots, bisect_left(slots, slot)) for slots, _ in self._sums)
        return any(slots[place : place + 1] == [slot] for slots, place in places)

    def months(self, known: Mapping[int, Passages]) -> tuple[MonthFlow, ...]:
        """Return every month in which something happened, and those between.

        `known` has for each cut what happened from the start of its slot to it.
        """
        if self._months is None:
            return ()
        start_us, end_us = self._bounds
        before = Passages(*(0 for _ in Passages._fields))
        found: list[MonthFlow] = []
        first = last = -1
        for place, (begin_us, after_us) in enumerate(pairwise(self._months.starts_us)):
            from_us = begin_us if start_us is None else max(begin_us, start_us)
            to_us = after_us if end_us is None else min(after_us, end_us)
            seen = before
            if from_us < to_us:
                sums = zip(self._before(to_us, known), self._before(from_us, known), strict=True)
                seen = Passages(*(late - early for late, early in sums))
            if any(seen[:-1]):
                first, last = (place if first < 0 else first), place
            ever = self._before(after_us, known)
            found.append(
                MonthFlow(
                    month=self._months.name_of(place),
                    created=seen.created,
                    resolved=seen.resolved,
                    closed=seen.closed,
                    cancelled=seen.cancelled,
                    merged=seen.merged,
                    backlog=ever.created - ever.gone,
                )
            )
        return tuple(found[first : last + 1]) if first >= 0 else ()

    def _before(self, at_us: int, known: Mapping[int, Passages]) -> Passages:
        slot = _slot(at_us)
        more = known.get(at_us, (0,) * len(Passages._fields))
        sums = (sums[bisect_left(slots, slot)] for slots, sums in self._sums)
        return Passages(*(full + part for full, part in zip(sums, more, strict=True)))
