"""Rollups in memory, and the report made of them as the service makes it of its tables."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import pairwise
from typing import Any

import msgspec

from services.reporting.domain.flow import Passages, passages_us
from services.reporting.domain.reading import Reading, ReportQuestion
from services.reporting.domain.rollup import NO_CALENDAR, Contents, Packed
from services.reporting.domain.tally import TicketRow
from services.reporting.domain.times import HOUR_US
from shared.buckets import SIZES, BucketSpan

DIGEST = "digest of the calendar"
_COLUMNS = {None: 0, "month": 0, "priority": 1, "group": 2, "category": 3}
Stored = dict[tuple[int, int], dict[str, Packed]]


def rolled_up(tickets: Iterable[TicketRow], question: ReportQuestion) -> Stored:
    """Count the tickets by hour, and add up larger buckets of smaller ones."""
    calendars = {DIGEST: question.calendar}
    hours: dict[int, Contents] = defaultdict(lambda: Contents(calendars))
    for ticket in tickets:
        hours[ticket.created_us // HOUR_US].add(ticket)
    stored = {(1, hour): dict(counted.packed()) for hour, counted in hours.items()}
    for below, size in pairwise(SIZES):
        parts: dict[int, Contents] = defaultdict(lambda: Contents(calendars))
        for number in sorted(number for found, number in stored if found == below):
            for calendar, packed in stored[below, number].items():
                parts[number * below // size].take(calendar, packed)
        stored |= {(size, number): dict(counted.packed()) for number, counted in parts.items()}
    return stored


def reported(
    tickets: Collection[TicketRow],
    question: ReportQuestion,
    *,
    stored: Stored | None = None,
    stale: Collection[int] = (),
    unmade: Collection[tuple[int, int]] = (),
) -> dict[str, Any]:
    """Return the report as its JSON reads, made as far as possible of what is stored."""
    stored = rolled_up(tickets, question) if stored is None else stored
    created = [ticket.created_us for ticket in tickets]
    ends = (min(created), max(created)) if created else (0, -1)
    reading = Reading(question, ends, stale, unmade)
    for place in _within(stored, reading.flow_spans):
        flow = stored[place][NO_CALENDAR][-1]
        assert flow is not None
        reading.take_flow(flow)
    for place in _within(stored, reading.spans):
        for packed in stored[place].values():
            cells = packed[_COLUMNS[question.by]]
            assert cells is not None
            reading.take(*place, cells)
    for first, after in reading.ranges:
        for ticket in tickets:
            if first <= ticket.created_us < after:
                reading.add(ticket)
    flow = reading.flow()
    known = {at: _passed(tickets, begin, at) for at, begin in flow.cuts.items()}
    return msgspec.json.decode(msgspec.json.encode(reading.report(flow, known)))


def _within(stored: Stored, spans: Iterable[BucketSpan]) -> list[tuple[int, int]]:
    return [
        (span.size, number)
        for span in spans
        for number in range(span.first, span.last + 1)
        if (span.size, number) in stored
    ]


def _passed(tickets: Iterable[TicketRow], begin_us: int, end_us: int) -> Passages:
    passages = [passages_us(ticket) for ticket in tickets]
    return Passages(
        *(
            sum(at is not None and begin_us <= at < end_us for at in kind)
            for kind in zip(*passages, strict=True)
        )
    )
