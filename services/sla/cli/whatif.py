"""`desk sla whatif`: the desk's past judged again under other rules, by all processors."""

import asyncio
import gc
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from services.sla.cli.past import BEYOND, Connection, chunks, heritage, read_rules
from services.sla.domain.agreements.credits import CreditedTicket, Credits, VerdictCount
from services.sla.domain.agreements.versions import Agreement, AgreementVersions, evolve
from services.sla.domain.clocks.history import last_value
from services.sla.domain.clocks.inheritance import with_heritage
from services.sla.domain.outlook.whatif import (
    Comparison,
    ComparisonTally,
    Judged,
    Row,
    by_target,
    facts_of_rows,
    fallen,
    idle_types,
    judged,
)
from services.sla.domain.rules.publishing import RulesWanted
from shared.calendar import microseconds
from shared.contracts.registry import decode_event
from shared.postgres.pool import open_reader

_HEX: Final = "0123456789abcdef"
_TOLD: Final = """
SELECT ticket_id::text, target, cycle, CASE
    WHEN bool_or(breached_at IS NOT NULL OR outcome = 'missed') THEN 'missed'
    WHEN bool_or(outcome IS NULL) THEN 'open' WHEN bool_or(outcome = 'met') THEN 'met' END,
    coalesce(min(breached_at), max(stopped_at))
FROM read.clock WHERE ticket_id >= $1::uuid AND ticket_id <= $2::uuid GROUP BY 1, 2, 3
"""
_GROUPS: Final = """
SELECT ticket_id::text, assigned_group FROM read.ticket
WHERE ticket_id >= $1::uuid AND ticket_id <= $2::uuid
"""
_AGREEMENTS: Final = """
SELECT stream_id, type, value FROM kernel.journal
WHERE stream_id IN (SELECT agreement_id FROM read.agreement) ORDER BY stream_id, sequence
"""


class WhatIfQuestion(msgspec.Struct, frozen=True):
    """What to judge by, and which tickets: created in [start, end), read at `at`."""

    rules: RulesWanted
    start: datetime | None
    end: datetime | None
    at: datetime


_Answer = tuple[Comparison, list[tuple[VerdictCount, int]]]
"""What one process comes to."""


class _Part(NamedTuple):
    """One process's share of the tickets: ids from `low` up to `high`."""

    dsn: str
    question: bytes
    low: str
    high: str


def compare(dsn: str, question: WhatIfQuestion) -> Comparison:
    """Judge the tickets in as many processes as there are processors; a whole is their sum.

    Raises: InvalidInputError if the rules make no sense, before any process is started.
    """
    credits_due = Credits(asyncio.run(_prepare(dsn, question)))
    count = max(1, min(os.cpu_count() or 1, len(_HEX)))
    edges = [_HEX[len(_HEX) * n // count] for n in range(count)] + [BEYOND]
    encoded = msgspec.msgpack.encode(question)
    parts = [_Part(dsn, encoded, edges[n], edges[n + 1]) for n in range(count)]
    whole = ComparisonTally()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        for answered in pool.map(_compare_part, parts):
            comparison, counted = msgspec.msgpack.decode(answered, type=_Answer)
            whole.take(comparison)
            credits_due.take(counted)
    return msgspec.structs.replace(whole.comparison(), credits=credits_due.credits())


async def _prepare(dsn: str, question: WhatIfQuestion) -> dict[str, AgreementVersions]:
    """Check the rules, and return the versions of every agreement."""
    connection = await open_reader(dsn, name="what-if")
    try:
        await read_rules(connection, question.rules, question.at)
        return await _agreements(connection)
    finally:
        await connection.close()


async def _agreements(connection: Connection) -> dict[str, AgreementVersions]:
    found: dict[str, Agreement] = {}
    for agreement_id, event_type, value in await connection.fetch(_AGREEMENTS):
        event = decode_event(event_type, value)
        known = found.get(agreement_id, Agreement())
        found[agreement_id] = evolve(known, event.data, event.time)
    return {name: agreement.versions for name, agreement in found.items() if agreement.versions}


def _compare_part(part: _Part) -> bytes:
    gc.disable()  # histories have no cycles, and there are millions of facts to walk
    question = msgspec.msgpack.decode(part.question, type=WhatIfQuestion)
    return msgspec.msgpack.encode(asyncio.run(_judge_part(part, question)))


async def _judge_part(part: _Part, question: WhatIfQuestion) -> _Answer:
    at_us = microseconds(question.at)
    tally = ComparisonTally()
    connection = await open_reader(part.dsn, name="what-if")
    try:
        credits_due = Credits(await _agreements(connection))
        rules = await read_rules(connection, question.rules, question.at)
        taken = await heritage(connection, rules, part.low, part.high)
        idle = idle_types(rules.rulebook)
        async for tickets in chunks(connection, part.low, part.high, idle):
            ends = tickets[0][0], tickets[-1][0]
            told = await _told(connection, *ends)
            groups = {row[0]: row[1] for row in await connection.fetch(_GROUPS, *ends)}
            for ticket_id, events in tickets:
                if not _is_wanted(events, question):
                    continue
                own = facts_of_rows(events, rules.peaks)
                facts = with_heritage(own, taken.get(ticket_id, ()))
                before, after = told.get(ticket_id, ()), judged(facts, rules.rulebook, at_us)
                group = groups.get(ticket_id)
                tally.add(ticket_id, group, by_target(before), by_target(after))
                customer = last_value(facts, "customer")
                if credits_due.is_any_of(customer):
                    service, priority = (last_value(facts, n) for n in ("service", "priority"))
                    ticket = CreditedTicket(customer, service, priority)
                    credits_due.add(ticket, "before", fallen(before))
                    credits_due.add(ticket, "after", fallen(after))
    finally:
        await connection.close()
    return tally.comparison(), credits_due.counted()


async def _told(connection: Connection, first: str, last: str) -> dict[str, list[Judged]]:
    """Return the verdicts of tickets as they were told."""
    found: dict[str, list[Judged]] = {}
    for ticket_id, target, cycle, verdict, at in await connection.fetch(_TOLD, first, last):
        if verdict is not None:
            fell_us = 0 if at is None else microseconds(at)
            found.setdefault(ticket_id, []).append(Judged(target, cycle, verdict, fell_us))
    return found


def _is_wanted(events: Sequence[Row], question: WhatIfQuestion) -> bool:
    if question.start is None and question.end is None:
        return True
    created = next((row[4] for row in events if row[3] == "ticket.created"), None)
    if created is None or (question.start is not None and created < question.start):
        return False
    return question.end is None or created < question.end
