"""How available a service was in its agreed time. Pure; microseconds inside, seconds outside."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Final, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from services.sla.domain.services.periods import By, Span, known_us, periods_in
from shared.calendar import (
    EARLIEST_US,
    ROUND_THE_CLOCK,
    SECOND_US,
    WorkingCalendar,
    instant,
    microseconds,
    round_the_clock,
)
from shared.contracts.availability import (
    AvailabilityPromised,
    MaintenanceScheduled,
    OutageRecorded,
    ServiceEvent,
)
from shared.errors import ForbiddenError, InvalidInputError, UnavailableError

_T = TypeVar("_T")
Newest = dict[type, ServiceEvent]
"""What was told last in a stream, by kind; ids of different kinds may be the same."""


class Rights(NamedTuple):
    """What who tells may do: put theirs in the place of what stands; plan down time afterwards."""

    may_replace: bool
    is_managers: bool


class RecordDocument(NamedTuple):
    """Tell a whole document about a service, if it differs from what was told last."""

    document: ServiceEvent
    told_us: int
    rights: Rights


def decide(command: RecordDocument, newest: Newest) -> list[ServiceEvent]:
    """Return the document; nothing if the newest says the same.

    Raises: ForbiddenError for maintenance told after it began by anybody but a manager, since it
    would take back down time that was measured; UnavailableError if it stands by now, and may not
    be replaced by who found that nobody had told it.
    """
    document = command.document
    before = newest.get(type(document))
    if before == document:
        return []
    if before is not None and not command.rights.may_replace:
        raise UnavailableError("this was told for the first time at this moment; send it again")
    if isinstance(document, MaintenanceScheduled) and not command.rights.is_managers:
        _require_ahead(document, before, command.told_us)
    return [document]


def _require_ahead(document: MaintenanceScheduled, before: object, told_us: int) -> None:
    """An end lies after its start, so starts are all there is to look at; cancelling is free."""
    if document.is_cancelled:
        return
    told = [document]
    if isinstance(before, MaintenanceScheduled) and not before.is_cancelled:
        told.append(before)
    for one in told:
        if microseconds(one.starts_at) <= told_us:
            starts = one.starts_at.isoformat()
            raise ForbiddenError(
                "maintenance is announced before it starts, and this one starts or started at"
                f" {starts}; telling or moving it after that needs the role manager",
                field="/starts_at",
            )


def evolve(newest: Newest, event: object, _at: datetime) -> Newest:
    """The newest document of a kind replaces the one before; other events have no part in it."""
    return {**newest, type(event): event} if isinstance(event, ServiceEvent) else newest


def require_sound(document: ServiceEvent, now_us: int) -> None:
    """Raise InvalidInputError, naming the field, for times that cannot be."""
    match document:
        case OutageRecorded():
            started_us = _past_us(document.started_at, "/started_at", now_us)
            if document.ended_at is not None:
                ended_us = _past_us(document.ended_at, "/ended_at", now_us)
                _require_order(started_us, ended_us, "/ended_at", is_instant_fine=True)
        case MaintenanceScheduled():
            starts_us = known_us(document.starts_at, "/starts_at")
            _require_order(starts_us, known_us(document.ends_at, "/ends_at"), "/ends_at")
        case AvailabilityPromised():
            return


def _past_us(at: datetime, field: str, now_us: int) -> int:
    at_us = known_us(at, field)
    if at_us > now_us:
        raise InvalidInputError(f"{field}: {at.isoformat()} is in the future", field=field)
    return at_us


def _require_order(
    start_us: int, end_us: int, field: str, *, is_instant_fine: bool = False
) -> None:
    if end_us < start_us or (end_us == start_us and not is_instant_fine):
        raise InvalidInputError(f"{field}: it must end after it starts", field=field)


# --- Measuring -------------------------------------------------------------------------------


class Downtime(NamedTuple):
    """The service was down; `end_us` is None while it lasts."""

    start_us: int
    end_us: int | None

    @classmethod
    def of(cls, start: datetime, end: datetime | None) -> "Downtime":
        """Return the outage between two instants."""
        return cls(microseconds(start), None if end is None else microseconds(end))


class AvailabilityTarget(NamedTuple):
    """What was promised at an instant."""

    promised_us: int
    share_min: float
    calendar_id: str


class ServiceTime(NamedTuple):
    """Agreed service time, and the share of it that the service shall be up, if promised."""

    calendar_id: str
    calendar: WorkingCalendar
    share_min: float | None = None


CalendarVersions = Mapping[str, Sequence[tuple[int, WorkingCalendar]]]
"""Calendars by name, each version with the instant of its publication, in order."""


def service_time(
    promises: Sequence[AvailabilityTarget], calendars: CalendarVersions, end_us: int
) -> ServiceTime:
    """Return what was agreed when a period ended; round the clock if nothing ever was.

    Of promises and of versions of a calendar, each in order, the last before the end counts, or the
    first if all came later.
    """
    promise = _last_before(end_us, [(one.promised_us, one) for one in promises])
    if promise is None:
        return ServiceTime(ROUND_THE_CLOCK, _ALWAYS_OPEN)
    calendar = _last_before(end_us, calendars.get(promise.calendar_id, ()))
    return ServiceTime(promise.calendar_id, calendar or _ALWAYS_OPEN, promise.share_min)


_ALWAYS_OPEN: Final = round_the_clock()


def _last_before(at_us: int, versions: Sequence[tuple[int, _T]]) -> _T | None:
    earlier = [version for since_us, version in versions if since_us < at_us]
    if earlier:
        return earlier[-1]
    return versions[0][1] if versions else None


class MeasuredAvailability(NamedTuple):
    """What a period came to; `measured` is the part of it that had come, and is known of."""

    period: Span
    measured: Span
    calendar_id: str
    agreed_us: int
    down_us: int
    share_min: float | None
    failures: int
    restorations_us: tuple[int, ...]

    @property
    def up_us(self) -> int:
        """Agreed service time in which the service was up."""
        return self.agreed_us - self.down_us

    @property
    def share(self) -> Fraction | None:
        """The exact share of agreed service time; None if none was agreed."""
        return Fraction(self.up_us, self.agreed_us) if self.agreed_us else None

    @property
    def is_met(self) -> bool | None:
        """Whether the promise was kept; None without promise, or without agreed service time."""
        if self.share is None or self.share_min is None:
            return None
        return self.share >= Fraction(str(self.share_min))


class Failure(NamedTuple):
    """Outages that overlap or touch, as one."""

    start_us: int
    end_us: int
    is_restored: bool


def measure(
    period: Span,
    agreed: ServiceTime,
    failures: Iterable[Failure],
    maintenance: Sequence[Span],
    at_us: int,
    since_us: int = EARLIEST_US,
) -> MeasuredAvailability:
    """Return how available the service was in the period, as far as it had come by `at_us`.

    Nobody watched the service before `since_us`; that time is no part of the measure.
    `failures` and `maintenance` as `failures_of` and `joined` give them; all maintenance that
    touches the period or one of those failures. Agreed time is the calendar's without maintenance.
    A failure belongs to the period in which its down time begins, so that each is counted once; one
    without down time is none. A restoration lasts from the outage's beginning to its end.
    """
    end_us = max(period.start_us, min(period.end_us, at_us))
    measured = Span(min(max(period.start_us, since_us), end_us), end_us)
    spans = list(_agreed(measured, agreed.calendar, maintenance))
    begun: list[Failure] = []
    down_us = 0
    for failure in failures:
        if failure.end_us <= measured.start_us or failure.start_us >= measured.end_us:
            continue
        inside_us = sum(_overlap_us(failure, span) for span in spans)
        down_us += inside_us
        before = Span(failure.start_us, period.start_us)
        if inside_us and not any(_agreed(before, agreed.calendar, maintenance)):
            begun.append(failure)
    return MeasuredAvailability(
        period=period,
        measured=measured,
        calendar_id=agreed.calendar_id,
        agreed_us=sum(end_us - start_us for start_us, end_us in spans),
        down_us=down_us,
        share_min=agreed.share_min,
        failures=len(begun),
        restorations_us=tuple(f.end_us - f.start_us for f in begun if f.is_restored),
    )


class ServiceHistory(NamedTuple):
    """All that was told of a service; failures as `failures_of`, maintenance as `joined` gives.

    `since_us` is where the first outage or promise lies; maintenance alone does not move it.
    """

    promises: Sequence[AvailabilityTarget]
    calendars: CalendarVersions
    failures: Sequence[Failure]
    maintenance: Sequence[Span]
    since_us: int = EARLIEST_US

    def measure(self, period: Span, at_us: int) -> MeasuredAvailability:
        """Return how available the service was in a period, as `measure` does."""
        agreed = service_time(self.promises, self.calendars, period.end_us)
        return measure(period, agreed, self.failures, self.maintenance, at_us, self.since_us)


def _agreed(span: Span, calendar: WorkingCalendar, maintenance: Sequence[Span]) -> Iterator[Span]:
    """Yield the agreed time in a span: open, and not under maintenance."""
    if span.end_us <= span.start_us:
        return
    for opening, closing in calendar.openings_us(*span):
        at_us = opening
        for start_us, end_us in maintenance:
            if end_us <= at_us:
                continue
            if start_us >= closing:
                break
            if start_us > at_us:
                yield Span(at_us, start_us)
            at_us = end_us
        if at_us < closing:
            yield Span(at_us, closing)


def failures_of(outages: Iterable[Downtime], at_us: int) -> list[Failure]:
    """Return outages that had begun by `at_us`, in order, joined where they overlap or touch.

    One that lasts counts up to `at_us`.
    """
    begun = [outage for outage in outages if outage.start_us <= at_us]
    over = joined(Span(o.start_us, _end_us(o, at_us)) for o in begun)
    lasting = {o.start_us for o in begun if o.end_us is None or o.end_us > at_us}
    return [
        Failure(*span, not any(span.start_us <= start_us <= span.end_us for start_us in lasting))
        for span in over
    ]


def _end_us(outage: Downtime, at_us: int) -> int:
    return at_us if outage.end_us is None else min(outage.end_us, at_us)


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, joined where they overlap or touch."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start_us <= found[-1].end_us:
            found[-1] = Span(found[-1].start_us, max(found[-1].end_us, span.end_us))
        else:
            found.append(span)
    return found


def _overlap_us(failure: Failure, span: Span) -> int:
    return max(0, min(failure.end_us, span.end_us) - max(failure.start_us, span.start_us))


# --- Telling ---------------------------------------------------------------------------------


class AvailabilityQuery(NamedTuple):
    """What to measure: one service or all, over a span, cut in periods of a zone or whole."""

    service: str | None
    whole: Span
    by: By | None
    zone: ZoneInfo

    def instants(self) -> tuple[datetime, datetime]:
        """Return where the span starts and ends."""
        return instant(self.whole.start_us), instant(self.whole.end_us)

    def periods(self) -> list[Span]:
        """Return the periods in order."""
        if self.by is None:
            return [self.whole]
        return list(periods_in(self.by, self.zone, self.whole))


class AvailabilityReading(
    msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}
):
    """The availability of a period, in seconds; null is what there is nothing to say of.

    `share`, `up_seconds` and the rest are of the time from `measured_from` to `measured_until`.
    """

    start: datetime
    end: datetime
    measured_from: datetime
    measured_until: datetime
    calendar: str
    agreed_seconds: float
    down_seconds: float
    up_seconds: float
    share: float | None
    share_min: float | None
    is_met: bool | None
    failures: int
    mtbf_seconds: float | None
    mttrs_seconds: float | None


def reading(found: MeasuredAvailability) -> AvailabilityReading:
    """Return the figures as people read them."""
    restored = found.restorations_us
    return AvailabilityReading(
        start=instant(found.period.start_us),
        end=instant(found.period.end_us),
        measured_from=instant(found.measured.start_us),
        measured_until=instant(found.measured.end_us),
        calendar=found.calendar_id,
        agreed_seconds=found.agreed_us / SECOND_US,
        down_seconds=found.down_us / SECOND_US,
        up_seconds=found.up_us / SECOND_US,
        share=None if found.share is None else float(found.share),
        share_min=found.share_min,
        is_met=found.is_met,
        failures=found.failures,
        mtbf_seconds=found.up_us / found.failures / SECOND_US if found.failures else None,
        mttrs_seconds=sum(restored) / len(restored) / SECOND_US if restored else None,
    )


class ServiceReadings(msgspec.Struct, frozen=True):
    """How available a service was, period by period."""

    service: str
    periods: list[AvailabilityReading]
