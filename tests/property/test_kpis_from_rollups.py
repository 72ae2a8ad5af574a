"""The report made of rollups is the report of a plain scan, whatever is asked and out of date."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, get_args
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from support.kpi_rollups import Stored, reported, rolled_up
from support.kpi_scan import close_to, scanned

from services.reporting.domain.kpi import GroupBy, Period
from services.reporting.domain.reading import ReportQuestion
from services.reporting.domain.tally import TicketRow
from services.reporting.domain.times import HOUR_US
from shared.buckets import SIZES
from shared.calendar import WorkingCalendar, microseconds

START = datetime(2024, 1, 30, 21, 7, tzinfo=UTC)
OFFICE = WorkingCalendar(
    zone="Europe/Berlin",
    weekly=dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), (("09:00", "18:00"),)),
)
ZONES = [
    *("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati"),
    *("Pacific/Niue", "Australia/Lord_Howe"),
]
SPANS_DAYS = [0.01, 2, 40, 800]


def some_tickets(chance: Random, span: timedelta) -> list[TicketRow]:
    return [a_ticket(chance, chance.random() * span) for _ in range(chance.randrange(60))]


def a_ticket(chance: Random, after: timedelta) -> TicketRow:
    created_us = microseconds(START + after)

    def later(odds: float) -> int | None:
        if chance.random() > odds:
            return None
        return created_us + round(2 ** (chance.random() * 43))

    return TicketRow(
        created_us,
        resolved_us=later(0.8),
        closed_us=later(0.6),
        cancelled_us=later(0.1),
        merged_us=later(0.1),
        first_reply_us=later(0.7),
        priority=chance.choice([None, "P1", "P2", "P3"]),
        category=chance.choice([None, "mail", "vpn"]),
        group=chance.choice([None, *(f"g{number}" for number in range(9))]),
        reopen_count=chance.choice([0, 0, 1, 3]),
        reassignment_count=chance.choice([0, 0, 1, 4]),
        sla_verdict=chance.choice([None, "met", "missed"]),
        csat_score=chance.choice([None, 1, 3, 4, 5]),
    )


def a_question(chance: Random, span: timedelta) -> ReportQuestion:
    bounds: list[datetime | None] = [START + (chance.random() * 1.4 - 0.2) * span for _ in range(2)]
    if chance.random() < 0.3:
        bounds = [at and at.replace(hour=0, minute=0, second=0, microsecond=0) for at in bounds]
    start, end = sorted(bounds, key=str)
    return ReportQuestion(
        Period(None if chance.random() < 0.4 else start, None if chance.random() < 0.4 else end),
        chance.choice([None, *get_args(GroupBy)]),
        ZoneInfo(chance.choice(ZONES)),
        OFFICE,
    )


def scan(tickets: Sequence[TicketRow], question: ReportQuestion) -> dict[str, Any]:
    return scanned(
        tickets,
        start=question.period.start,
        end=question.period.end,
        by=question.by,
        zone=question.zone,
        calendar=question.calendar,
    )


def above(size: int, number: int) -> tuple[tuple[int, int], ...]:
    """Return a bucket and all that hold it."""
    return tuple((larger, number * size // larger) for larger in SIZES if larger >= size)


def compare(found: dict[str, Any], expected: dict[str, Any]) -> None:
    found.pop("percentiles")
    found.pop("period")
    assert found == close_to(expected)


@given(st.randoms(use_true_random=False), st.sampled_from(SPANS_DAYS))
@settings(max_examples=150, deadline=None)
def test_a_report_of_rollups_is_that_of_a_scan(chance: Random, span_days: float) -> None:
    span = timedelta(days=span_days)
    tickets, question = some_tickets(chance, span), a_question(chance, span)
    stored = rolled_up(tickets, question)
    some = [place for place in stored if place[0] > 24 and chance.random() < 0.3]
    unmade = {larger for place in some for larger in above(*place)}
    for place in unmade:
        stored.pop(place, None)
    found = reported(tickets, question, stored=stored, unmade=unmade)
    compare(found, scan(tickets, question))


@given(st.randoms(use_true_random=False), st.sampled_from(SPANS_DAYS), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_what_is_out_of_date_is_never_used(chance: Random, span_days: float, share: float) -> None:
    """Rollups of stale hours, and of all above them, hold other tickets: no report shows it."""
    span = timedelta(days=span_days)
    tickets, question = some_tickets(chance, span), a_question(chance, span)
    hours = {ticket.created_us // HOUR_US for ticket in tickets}
    stale = {hour for hour in sorted(hours) if chance.random() < share}
    lies = [t for t in tickets for _ in range(1 + (t.created_us // HOUR_US in stale))]
    stored = rolled_up(lies, question)
    for size in SIZES:
        for hour in stale:
            if chance.random() < 0.3:
                stored.pop((size, hour // size), None)
    found = reported(tickets, question, stored=stored, stale=stale)
    compare(found, scan(tickets, question))


@given(st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_rollups_do_not_depend_on_the_order_of_tickets(chance: Random) -> None:
    tickets = some_tickets(chance, timedelta(days=40))
    question = a_question(chance, timedelta(days=40))
    stored: Stored = rolled_up(tickets, question)
    assert rolled_up(chance.sample(tickets, len(tickets)), question) == stored
