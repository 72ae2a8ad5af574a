"""Availability worked out by hand: daylight saving, maintenance, overlaps, edges of months."""

from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.sla.domain.services.availability import (
    AvailabilityTarget,
    Downtime,
    MeasuredAvailability,
    RecordDocument,
    Rights,
    ServiceTime,
    decide,
    evolve,
    failures_of,
    joined,
    measure,
    reading,
    require_sound,
    service_time,
)
from services.sla.domain.services.periods import Span, period_at, periods_in, span_asked
from shared.calendar import WorkingCalendar, instant, microseconds, round_the_clock
from shared.contracts.availability import (
    AvailabilityPromised,
    MaintenanceScheduled,
    OutageRecorded,
    ServiceEvent,
)
from shared.errors import ForbiddenError, InvalidInputError, UnavailableError

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600
HOUR_US = HOUR * 1_000_000
ALWAYS = ServiceTime("24x7", round_the_clock(), 0.999)
OFFICE = ServiceTime(
    "office",
    WorkingCalendar(
        zone="Europe/Berlin",
        weekly=dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), (("09:00", "17:00"),)),
    ),
    0.9,
)


def us(text: str, zone: ZoneInfo = BERLIN) -> int:
    """Read wall time, `2026-03-02` or `2026-03-02 09:30`."""
    return microseconds(datetime.fromisoformat(text).replace(tzinfo=zone))


def month(text: str) -> Span:
    return period_at("month", BERLIN, us(f"{text}-15"))


def down(start: str, end: str | None) -> Downtime:
    return Downtime(us(start), None if end is None else us(end))


def measured(
    period: Span,
    *outages: Downtime,
    agreed: ServiceTime = ALWAYS,
    maintenance: tuple[tuple[str, str], ...] = (),
    at: str = "2030-01-01",
) -> MeasuredAvailability:
    failures = failures_of(outages, us(at))
    planned = joined(Span(us(start), us(end)) for start, end in maintenance)
    return measure(period, agreed, failures, planned, us(at))


@pytest.mark.parametrize(
    ("text", "hours"),
    [("2026-03", 31 * 24 - 1), ("2026-10", 31 * 24 + 1), ("2026-02", 28 * 24)],
)
def test_a_month_with_a_change_of_clocks_has_an_hour_less_or_more(text: str, hours: int) -> None:
    found = measured(month(text))
    assert found.agreed_us == hours * HOUR_US
    assert found.share == 1


@pytest.mark.parametrize(
    ("since", "at", "hours"),
    [
        ("2026-01-01", "2026-06-01", 28 * 24),
        ("2026-02-02", "2026-06-01", 27 * 24),
        ("2026-03-01", "2026-06-01", 0),
        ("2026-05-01", "2026-06-01", 0),
        ("2026-02-02", "2026-02-01", 0),
        ("2026-02-02", "2026-02-04", 2 * 24),
        ("2026-02-02", "2026-01-01", 0),
    ],
)
def test_time_before_anything_was_told_is_not_measured(since: str, at: str, hours: int) -> None:
    promised = ALWAYS._replace(share_min=0.9)
    found = measure(month("2026-02"), promised, [], [], us(at), us(since))
    assert found.agreed_us == hours * HOUR_US
    assert (found.share, found.is_met) == ((1, True) if hours else (None, None))
    assert found.measured.start_us <= found.measured.end_us


def test_an_outage_over_the_change_of_clocks_lasts_as_long_as_it_lasted() -> None:
    found = measured(month("2026-03"), down("2026-03-29 01:00", "2026-03-29 04:00"))
    assert found.down_us == 2 * HOUR_US
    assert found.share == 1 - Fraction(2, 743)


def test_office_hours_keep_their_wall_time_over_the_change_of_clocks() -> None:
    found = measured(month("2026-03"), down("2026-03-27 16:00", "2026-03-30 10:00"), agreed=OFFICE)
    assert found.agreed_us == 22 * 8 * HOUR_US
    assert found.down_us == 2 * HOUR_US
    assert found.restorations_us == (65 * HOUR_US,)


def test_overlapping_and_touching_outages_count_once_and_are_one_failure() -> None:
    found = measured(
        month("2026-02"),
        down("2026-02-03 10:00", "2026-02-03 12:00"),
        down("2026-02-03 11:00", "2026-02-03 13:00"),
        down("2026-02-03 11:30", "2026-02-03 11:40"),
        down("2026-02-03 13:00", "2026-02-03 14:00"),
        down("2026-02-10 10:00", "2026-02-10 12:00"),
    )
    assert found.down_us == 6 * HOUR_US
    assert found.failures == 2
    told = reading(found)
    assert told.mtbf_seconds == (28 * 24 - 6) * HOUR / 2
    assert told.mttrs_seconds == 3 * HOUR
    assert told.is_met is False


def test_maintenance_is_neither_agreed_nor_down_time() -> None:
    found = measured(
        month("2026-02"),
        down("2026-02-03 10:00", "2026-02-03 14:00"),
        maintenance=(
            ("2026-02-03 11:00", "2026-02-03 12:30"),
            ("2026-02-03 12:00", "2026-02-03 13:00"),
        ),
    )
    assert found.agreed_us == (28 * 24 - 2) * HOUR_US
    assert found.down_us == 2 * HOUR_US
    assert found.failures == 1
    assert found.restorations_us == (4 * HOUR_US,)


def test_an_outage_within_maintenance_or_outside_agreed_time_is_no_failure() -> None:
    found = measured(
        month("2026-02"),
        down("2026-02-03 11:00", "2026-02-03 12:00"),
        down("2026-02-07 09:00", "2026-02-08 17:00"),
        agreed=OFFICE,
        maintenance=(("2026-02-03 10:00", "2026-02-03 13:00"),),
    )
    assert (found.down_us, found.failures, found.restorations_us) == (0, 0, ())
    assert found.agreed_us == (20 * 8 - 3) * HOUR_US


def test_an_open_outage_counts_until_now_and_is_not_restored() -> None:
    found = measured(
        month("2026-02"),
        down("2026-02-03 10:00", "2026-02-03 11:00"),
        down("2026-02-05 00:00", None),
        at="2026-02-05 06:00",
    )
    assert found.measured.end_us == us("2026-02-05 06:00")
    assert found.agreed_us == (4 * 24 + 6) * HOUR_US
    assert found.down_us == 7 * HOUR_US
    assert (found.failures, found.restorations_us) == (2, (HOUR_US,))
    assert measured(month("2026-02"), down("2026-02-05", None)).down_us == 24 * 24 * HOUR_US


def test_what_lasts_within_an_outage_that_lasts_is_not_restored_either() -> None:
    found = measured(
        month("2026-02"),
        down("2026-02-03 10:00", None),
        down("2026-02-03 11:00", "2026-02-03 12:00"),
    )
    assert (found.failures, found.restorations_us) == (1, ())


def test_an_outage_over_the_end_of_a_month_is_a_failure_of_the_month_it_began_in() -> None:
    outage = down("2026-01-31 22:00", "2026-02-01 05:00")
    january, february = (measured(month(text), outage) for text in ("2026-01", "2026-02"))
    assert (january.down_us, january.failures) == (2 * HOUR_US, 1)
    assert (february.down_us, february.failures) == (5 * HOUR_US, 0)
    assert january.restorations_us == (7 * HOUR_US,)
    assert reading(february).mtbf_seconds is None
    assert reading(february).mttrs_seconds is None


def test_an_outage_that_began_in_the_night_is_a_failure_of_the_month_whose_hours_it_took() -> None:
    outage = down("2026-03-31 20:00", "2026-04-01 10:00")
    march, april = (measured(month(text), outage, agreed=OFFICE) for text in ("2026-03", "2026-04"))
    assert (march.down_us, march.failures) == (0, 0)
    assert (april.down_us, april.failures) == (HOUR_US, 1)


def test_a_share_of_exactly_what_was_promised_is_kept() -> None:
    week = Span(us("2026-02-02"), us("2026-02-02") + 1000 * HOUR_US)
    kept = measured(week, Downtime(us("2026-02-03"), us("2026-02-03") + HOUR_US))
    missed = measured(week, Downtime(us("2026-02-03"), us("2026-02-03") + HOUR_US + 1))
    assert (kept.share, kept.is_met) == (Fraction(999, 1000), True)
    assert missed.is_met is False


def test_a_period_without_agreed_time_has_no_share() -> None:
    sunday = Span(us("2026-02-08"), us("2026-02-09"))
    assert measured(sunday, down("2026-02-08", "2026-02-09"), agreed=OFFICE).is_met is None
    later = measured(month("2026-05"), at="2026-04-30")
    assert (later.agreed_us, later.share) == (0, None)


def test_a_period_is_measured_by_what_was_promised_last_before_it_ended() -> None:
    old, new = round_the_clock(), round_the_clock()
    promises = [
        AvailabilityTarget(us("2026-02-10"), 0.99, "odd"),
        AvailabilityTarget(us("2026-04-10"), 0.999, "24x7"),
    ]
    calendars = {"odd": [(us("2026-01-01"), old), (us("2026-03-10"), new)]}
    found = [
        service_time(promises, calendars, month(text).end_us)
        for text in ("2026-01", "2026-02", "2026-03", "2026-04")
    ]
    assert [one.share_min for one in found] == [0.99, 0.99, 0.99, 0.999]
    assert [one.calendar is old for one in found] == [True, True, False, False]
    assert service_time([], {}, us("2026-01-01")).share_min is None


@pytest.mark.parametrize(
    ("by", "edges"),
    [
        ("month", ["2026-02-10", "2026-03-01", "2026-04-01", "2026-04-05"]),
        ("quarter", ["2026-02-10", "2026-04-01", "2026-04-05"]),
        ("year", ["2026-02-10", "2026-04-05"]),
    ],
)
def test_a_span_is_cut_at_local_midnights(by: str, edges: list[str]) -> None:
    found = list(periods_in(by, BERLIN, Span(us(edges[0]), us(edges[-1]))))  # type: ignore[arg-type]
    assert found == [Span(us(a), us(b)) for a, b in pairwise(edges)]


def test_a_month_that_begins_twice_ends_all_the_same() -> None:
    """At 00:01 of 1 November 2009 the clocks of Newfoundland went back to 23:01."""
    zone = ZoneInfo("America/St_Johns")
    november = period_at("month", zone, us("2009-11-15", zone))
    again = microseconds(datetime(2009, 10, 31, 23, 30, tzinfo=zone, fold=1))
    assert november.start_us < again
    assert period_at("month", zone, again) == november
    whole = Span(again, us("2009-12-20", zone))
    assert [span.end_us for span in periods_in("month", zone, whole)] == [
        november.end_us,
        whole.end_us,
    ]


OUTAGE = OutageRecorded(
    outage_id="o", service="mail", started_at=datetime(2026, 2, 3, tzinfo=UTC), source="alert"
)
MAINTENANCE = MaintenanceScheduled(
    maintenance_id="o", service="mail", starts_at=OUTAGE.started_at, ends_at=OUTAGE.started_at
)


AHEAD = MaintenanceScheduled(
    maintenance_id="o",
    service="mail",
    starts_at=datetime(2026, 3, 2, tzinfo=UTC),
    ends_at=datetime(2026, 3, 4, tzinfo=UTC),
)


def by_agent(document: ServiceEvent, day: int = 1) -> RecordDocument:
    """An agent tells it on a day of March."""
    rights = Rights(may_replace=True, is_managers=False)
    return RecordDocument(document, microseconds(datetime(2026, 3, day, tzinfo=UTC)), rights)


def moved(day: int, *, is_cancelled: bool = False) -> MaintenanceScheduled:
    starts_at = datetime(2026, 3, day, tzinfo=UTC)
    return msgspec.structs.replace(AHEAD, starts_at=starts_at, is_cancelled=is_cancelled)


@pytest.mark.parametrize(
    ("before", "after", "day", "is_allowed"),
    [
        (None, AHEAD, 1, True),
        (None, AHEAD, 2, False),
        (None, AHEAD, 5, False),
        (AHEAD, AHEAD, 5, True),  # an honest retry
        (AHEAD, moved(3), 1, True),
        (AHEAD, moved(3), 2, False),  # it had begun
        (moved(3), AHEAD, 2, False),
        (AHEAD, moved(2, is_cancelled=True), 5, True),
        (moved(2, is_cancelled=True), AHEAD, 5, False),
        (moved(2, is_cancelled=True), moved(3), 2, True),
    ],
)
def test_only_a_manager_tells_of_maintenance_after_it_began(
    before: MaintenanceScheduled | None, after: MaintenanceScheduled, day: int, *, is_allowed: bool
) -> None:
    told = {} if before is None else evolve({}, before, before.starts_at)
    written = [] if before == after else [after]
    command = by_agent(after, day)
    assert (
        decide(command._replace(rights=Rights(may_replace=True, is_managers=True)), told) == written
    )
    if is_allowed:
        assert decide(command, told) == written
        return
    with pytest.raises(ForbiddenError, match="needs the role manager"):
        decide(command, told)


def test_who_found_nothing_told_replaces_nothing_that_was_told_since() -> None:
    told = evolve({}, OUTAGE, OUTAGE.started_at)
    over = msgspec.structs.replace(OUTAGE, is_withdrawn=True)
    stranger = by_agent(over)._replace(rights=Rights(may_replace=False, is_managers=False))
    assert decide(stranger, {}) == [over]
    with pytest.raises(UnavailableError):
        decide(stranger, told)
    assert decide(stranger._replace(document=AHEAD), told) == [AHEAD]


def test_a_document_is_written_when_it_differs_and_ids_of_kinds_do_not_meet() -> None:
    told = evolve({}, OUTAGE, OUTAGE.started_at)
    assert decide(by_agent(OUTAGE), told) == []
    assert decide(by_agent(AHEAD), told) == [AHEAD]
    both = evolve(told, AHEAD, OUTAGE.started_at)
    assert decide(by_agent(OUTAGE), both) == []
    promise = AvailabilityPromised(service="o", share_min=0.99)
    assert decide(by_agent(promise), both) == [promise]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ((OUTAGE, {"started_at": "2026-02-04T00:00:01Z"}), "/started_at"),
        ((OUTAGE, {"ended_at": "2026-02-04T00:00:01Z"}), "/ended_at"),
        ((OUTAGE, {"ended_at": "2026-02-02T00:00:00Z"}), "/ended_at"),
        ((OUTAGE, {"started_at": "1815-02-02T00:00:00Z"}), "/started_at"),
        ((MAINTENANCE, {}), "/ends_at"),
        ((MAINTENANCE, {"ends_at": "2300-02-02T00:00:00Z"}), "/ends_at"),
    ],
)
def test_times_that_cannot_be_are_refused(
    document: tuple[object, dict[str, str]], field: str
) -> None:
    base, change = document
    changed = msgspec.structs.replace(
        base, **{name: datetime.fromisoformat(text) for name, text in change.items()}
    )
    with pytest.raises(InvalidInputError) as refused:
        require_sound(changed, us("2026-02-04", ZoneInfo("UTC")))
    assert refused.value.field == field


def asked(start: str | None, end: str | None, now: str) -> Span:
    first, last = (None if day is None else instant(us(day)) for day in (start, end))
    return span_asked(first, last, us(now))


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        ("2027-02-02", None, "to"),
        ("2006-01-01", "2026-01-02", "from"),
        ("1815-02-03", "1816-02-03", "to"),
        (None, "9999-12-31", "to"),
    ],
)
def test_a_period_that_cannot_be_is_refused(start: str | None, end: str | None, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        asked(start, end, "2026-06-01")
    assert refused.value.field == field


def test_twenty_years_are_fine_and_a_year_is_what_nobody_named() -> None:
    assert asked("2006-01-01", "2026-01-01", "2026-06-01").start_us == us("2006-01-01")
    year = asked(None, None, "2026-06-01")
    assert (year.start_us, year.end_us) == (us("2025-06-01"), us("2026-06-01"))
