"""What is counted of tickets, by the value they share; parts add up to the whole."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from services.reporting.domain.times import Distribution, PackedTimes, Times
from shared.calendar import WorkingCalendar
from shared.errors import InvalidInputError

_SATISFIED_SCORE_MIN: Final = 4
_COUNTS: Final = (
    "tickets",
    "cancelled",
    "merged",
    "reassignments",
    "never_reassigned",
    "reopened",
    "closed_direct",
    "closed_at_once",
    "met",
    "missed",
    "rated",
    "score",
    "satisfied",
)


class TicketRow(msgspec.Struct, frozen=True, gc=False):
    """What the figures need of one ticket, as last known.

    Instants are in microseconds since 1970. `resolved_us` is the resolution that stands, None while
    reopened.
    """

    created_us: int
    resolved_us: int | None = None
    closed_us: int | None = None
    cancelled_us: int | None = None
    merged_us: int | None = None
    first_reply_us: int | None = None
    priority: str | None = None
    category: str | None = None
    group: str | None = None
    reopen_count: int = 0
    reassignment_count: int = 0
    sla_verdict: Literal["met", "missed"] | None = None
    csat_score: int | None = None

    def worked_us(self, calendar: WorkingCalendar) -> int | None:
        """Return the working time to the resolution; None without one, or beyond the calendar."""
        if self.resolved_us is None or self.merged_us is not None:
            return None
        try:
            return calendar.worked_us(self.created_us, self.resolved_us)
        except InvalidInputError:
            return None


class Cell(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The tickets of one key at rest: what no calendar changes, or only the working times."""

    key: str | None
    counts: tuple[int, ...]
    times: tuple[PackedTimes, ...]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[Cell, ...]).decode


class FirstContact(msgspec.Struct, frozen=True, kw_only=True):
    """Of `n` closed tickets: never reassigned nor reopened; and never reassigned."""

    n: int
    share: float | None
    share_reopen_ignored: float | None


class SlaFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Tickets with a verdict, and how many of the verdicts were met."""

    judged: int
    made: int
    share: float | None


class Reassignments(msgspec.Struct, frozen=True, kw_only=True):
    """Mean per ticket that is not merged, and how many of these were never reassigned."""

    mean: float | None
    none: int


class Csat(msgspec.Struct, frozen=True, kw_only=True):
    """Scores from 1 to 5; satisfied from 4 on."""

    n: int
    mean: float | None
    share_satisfied: float | None


class Kpis(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a set of tickets; `reopened` counts tickets, not reopenings.

    `tickets` are all that were created. Of these `merged` went on in another: they count there and
    in `sla`, whose verdicts stand, and in no other figure.
    """

    tickets: int
    cancelled: int
    merged: int
    ttr_hours: Distribution
    ttr_working_hours: Distribution
    ttc_hours: Distribution
    art_hours: Distribution
    fcr: FirstContact
    sla: SlaFigures
    reopened: int
    reassignments: Reassignments
    csat: Csat


class Tally:
    """The tickets of one key, being counted."""

    __slots__ = ("art", "counts", "ttc", "ttr", "ttr_working")

    def __init__(self) -> None:
        self.ttr = Times()
        self.ttr_working = Times()
        self.ttc = Times()
        self.art = Times()
        self.counts: Counter[str] = Counter()

    def add(self, row: TicketRow) -> None:
        """Count a ticket, all but its working time."""
        counts = self.counts
        counts["tickets"] += 1
        if row.sla_verdict is not None:
            counts[row.sla_verdict] += 1
        if row.merged_us is not None:
            counts["merged"] += 1
            return
        counts["cancelled"] += row.cancelled_us is not None
        if row.resolved_us is not None:
            self.ttr.add(row.resolved_us - row.created_us)
        if row.first_reply_us is not None:
            self.art.add(row.first_reply_us - row.created_us)
        counts["reassignments"] += row.reassignment_count
        counts["never_reassigned"] += row.reassignment_count == 0
        counts["reopened"] += row.reopen_count > 0
        if row.closed_us is not None:
            self.ttc.add(row.closed_us - row.created_us)
            counts["closed_direct"] += row.reassignment_count == 0
            counts["closed_at_once"] += row.reassignment_count == 0 and row.reopen_count == 0
        if row.csat_score is not None:
            counts["rated"] += 1
            counts["score"] += row.csat_score
            counts["satisfied"] += row.csat_score >= _SATISFIED_SCORE_MIN

    def add_working(self, worked_us: int | None) -> None:
        """Count a ticket's working time, where it has one."""
        if worked_us is not None:
            self.ttr_working.add(worked_us)

    def take(self, other: "Tally") -> None:
        """Count what another has counted."""
        self.counts.update(other.counts)
        for mine, theirs in zip(self.times(), other.times(), strict=True):
            mine.take(theirs)

    def take_cell(self, cell: Cell) -> None:
        """Count what a cell holds."""
        if not cell.counts:
            self.ttr_working.take_packed(cell.times[0])
            return
        counts = self.counts
        for name, count in zip(_COUNTS, cell.counts, strict=True):
            counts[name] += count
        for mine, packed in zip((self.ttr, self.ttc, self.art), cell.times, strict=True):
            mine.take_packed(packed)

    def cell(self, key: str | None) -> Cell:
        """Return what no calendar changes."""
        counts = tuple(self.counts[name] for name in _COUNTS)
        return Cell(key, counts, (self.ttr.packed(), self.ttc.packed(), self.art.packed()))

    def working_cell(self, key: str | None) -> Cell:
        """Return the working times."""
        return Cell(key, (), (self.ttr_working.packed(),))

    def times(self) -> tuple[Times, ...]:
        """Return all that is measured."""
        return self.ttr, self.ttr_working, self.ttc, self.art

    def figures(self) -> Kpis:
        """Return the figures."""
        counts = self.counts
        closed, judged = self.ttc.n, counts["met"] + counts["missed"]
        return Kpis(
            tickets=counts["tickets"],
            cancelled=counts["cancelled"],
            merged=counts["merged"],
            ttr_hours=self.ttr.distribution(),
            ttr_working_hours=self.ttr_working.distribution(),
            ttc_hours=self.ttc.distribution(),
            art_hours=self.art.distribution(),
            fcr=FirstContact(
                n=closed,
                share=_share(counts["closed_at_once"], closed),
                share_reopen_ignored=_share(counts["closed_direct"], closed),
            ),
            sla=SlaFigures(judged=judged, made=counts["met"], share=_share(counts["met"], judged)),
            reopened=counts["reopened"],
            reassignments=Reassignments(
                mean=_share(counts["reassignments"], counts["tickets"] - counts["merged"]),
                none=counts["never_reassigned"],
            ),
            csat=Csat(
                n=counts["rated"],
                mean=_share(counts["score"], counts["rated"]),
                share_satisfied=_share(counts["satisfied"], counts["rated"]),
            ),
        )


class Tallies:
    """Tickets counted by a key."""

    __slots__ = ("of",)

    def __init__(self) -> None:
        self.of: dict[str | None, Tally] = {}

    def at(self, key: str | None) -> Tally:
        """Return the tally of a key, a new one at its first ticket."""
        tally = self.of.get(key)
        if tally is None:
            tally = self.of[key] = Tally()
        return tally

    def take_cells(self, packed: bytes) -> None:
        """Count what cells hold, each under its key."""
        for cell in _decode(packed):
            self.at(cell.key).take_cell(cell)

    def take_cells_as(self, key: str | None, packed: bytes) -> None:
        """Count what cells hold, all under this key."""
        tally = self.at(key)
        for cell in _decode(packed):
            tally.take_cell(cell)

    def cells(self) -> bytes:
        """Return what no calendar changes, the same bytes for the same tickets."""
        return _encode([self.of[key].cell(key) for key in in_order(self.of)])

    def working_cells(self) -> bytes:
        """Return the working times, the same bytes for the same tickets."""
        return _encode([self.of[key].working_cell(key) for key in in_order(self.of)])


def in_order(keys: Iterable[str | None]) -> list[str | None]:
    """Return the keys sorted, tickets without one last."""
    return sorted(keys, key=lambda key: (key is None, key or ""))


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
