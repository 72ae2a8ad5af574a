"""`desk sla whatif`: the desk's past judged again under other rules, by all processors."""

import asyncio
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from services.commands.past import BEYOND, chunks, read_rules
from services.sla.domain.history import last_value
from services.sla.domain.rules import RulesWanted
from services.sla.domain.whatif import Comparison, Row, Tally, Verdict, facts_of_rows, verdicts
from shared.calendar import microseconds

_HEX: Final = "0123456789abcdef"
_VERDICTS: Final = """
SELECT ticket_id::text, target,
    CASE WHEN bool_or(breached_at IS NOT NULL OR outcome = 'missed') THEN 'missed'
         WHEN bool_or(outcome = 'met') THEN 'met'
         WHEN bool_or(outcome IS NULL) THEN 'open' END
FROM read.clock WHERE ticket_id >= $1::uuid AND ticket_id <= $2::uuid GROUP BY 1, 2
"""


class Question(msgspec.Struct, frozen=True):
    """What to judge by, and which tickets: created in [start, end), read at `at`."""

    rules: RulesWanted
    start: datetime | None
    end: datetime | None
    at: datetime


class _Part(NamedTuple):
    """One process's share of the tickets: ids from `low` up to `high`."""

    dsn: str
    question: bytes
    low: str
    high: str


def compare(dsn: str, question: Question) -> Comparison:
    """Judge the tickets in as many processes as there are processors; a whole is their sum.

    Raises: InvalidInputError if the rules make no sense, before any process is started.
    """
    asyncio.run(_require_sound(dsn, question))
    count = max(1, min(os.cpu_count() or 1, len(_HEX)))
    edges = [_HEX[len(_HEX) * n // count] for n in range(count)] + [BEYOND]
    encoded = msgspec.msgpack.encode(question)
    parts = [_Part(dsn, encoded, edges[n], edges[n + 1]) for n in range(count)]
    whole = Tally()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        for answered in pool.map(_compare_part, parts):
            whole.take(msgspec.msgpack.decode(answered, type=Comparison))
    return whole.comparison()


async def _require_sound(dsn: str, question: Question) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await read_rules(connection, question.rules)
    finally:
        await connection.close()


def _compare_part(part: _Part) -> bytes:
    question = msgspec.msgpack.decode(part.question, type=Question)
    return msgspec.msgpack.encode(asyncio.run(_judge_part(part, question)))


async def _judge_part(part: _Part, question: Question) -> Comparison:
    at_us = microseconds(question.at)
    tally = Tally()
    connection = await asyncpg.connect(part.dsn)
    try:
        book, peaks = await read_rules(connection, question.rules)
        async for tickets in chunks(connection, part.low, part.high):
            told = await _told(connection, tickets[0][0], tickets[-1][0])
            for ticket_id, events in tickets:
                if _is_wanted(events, question):
                    facts = facts_of_rows(events, peaks)
                    after = verdicts(facts, book, at_us)
                    group = last_value(facts, "group")
                    tally.add(ticket_id, group, told.get(ticket_id, {}), after)
    finally:
        await connection.close()
    return tally.comparison()


async def _told(
    connection: Any,  # noqa: ANN401 asyncpg's
    first: str,
    last: str,
) -> dict[str, dict[str, Verdict]]:
    found: dict[str, dict[str, Verdict]] = {}
    for ticket_id, target, verdict in await connection.fetch(_VERDICTS, first, last):
        if verdict is not None:
            found.setdefault(ticket_id, {})[target] = verdict
    return found


def _is_wanted(events: Sequence[Row], question: Question) -> bool:
    if question.start is None and question.end is None:
        return True
    created = next((row[4] for row in events if row[3] == "ticket.created"), None)
    if created is None or (question.start is not None and created < question.start):
        return False
    return question.end is None or created < question.end
