"""`desk sla whatif`: the desk's past judged again under other rules, by all processors."""

import asyncio
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from services.sla.domain.facts import PLAIN
from services.sla.domain.published import Publication, as_if_always, rules_of
from services.sla.domain.rulebook import PolicyVersion, Rulebook
from services.sla.domain.rules import RulesWanted
from services.sla.domain.simulate import calendars_of
from services.sla.domain.whatif import (
    Comparison,
    Row,
    Verdict,
    facts_of_rows,
    group_of,
    verdicts,
)
from shared.calendar import microseconds
from shared.contracts.registry import decode_event
from shared.errors import InvalidInputError

_ROWS: Final = 60_000
_KEY: Final = itemgetter(0)
_HEX: Final = "0123456789abcdef"
_BEYOND: Final = "g"
_RULES: Final = """
SELECT type, value FROM kernel.journal WHERE stream_id IN (
    SELECT policy_id FROM read.policy UNION SELECT calendar_id FROM read.calendar
    UNION VALUES ('peaks')
) ORDER BY stream_id, sequence
"""
_HISTORY: Final = """
SELECT stream_id, writer, sequence, type, time, CASE WHEN type = ANY($3) THEN NULL ELSE value END
FROM read.history WHERE stream_id >= $1 AND stream_id < $2 AND writer IN ('intake', 'routing')
ORDER BY stream_id, writer, sequence LIMIT $4
"""
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
    """Judge the tickets in as many processes as there are processors; a whole is their sum."""
    count = max(1, min(os.cpu_count() or 1, len(_HEX)))
    edges = [_HEX[len(_HEX) * n // count] for n in range(count)] + [_BEYOND]
    encoded = msgspec.msgpack.encode(question)
    parts = [_Part(dsn, encoded, edges[n], edges[n + 1]) for n in range(count)]
    whole = Comparison()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        for answered in pool.map(_compare_part, parts):
            whole.take(msgspec.msgpack.decode(answered, type=Comparison))
    return whole


def require_sound(dsn: str, question: Question) -> None:
    """Raise InvalidInputError if the rules make no sense, before any process is started."""
    asyncio.run(_rules(dsn, question.rules))


def _compare_part(part: _Part) -> bytes:
    question = msgspec.msgpack.decode(part.question, type=Question)
    return msgspec.msgpack.encode(asyncio.run(_judge_part(part, question)))


async def _rules(dsn: str, wanted: RulesWanted) -> tuple[Rulebook, Any]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(_RULES)
    finally:
        await connection.close()
    published = [
        Publication(event.data, microseconds(event.time))
        for event in (decode_event(row["type"], row["value"]) for row in rows)
    ]
    newest = {policy.id: place for place, policy in enumerate(wanted.policies)}
    policies = [
        PolicyVersion(
            policy_id=policy.id,
            version=policy.version or 1,
            effective_us=0,
            targets=policy.targets,
            pointer=f"/policies/{place}",
        )
        for place, policy in enumerate(wanted.policies)
        if newest[policy.id] == place
    ]
    book = as_if_always(published, policies, calendars_of(wanted.calendars))
    return book, rules_of(published).peaks


async def _judge_part(part: _Part, question: Question) -> Comparison:
    book, peaks = await _rules(part.dsn, question.rules)
    at_us = microseconds(question.at)
    comparison = Comparison()
    connection = await asyncpg.connect(part.dsn)
    try:
        low = part.low
        while True:
            rows = await connection.fetch(_HISTORY, low, part.high, list(PLAIN), _ROWS)
            is_last = len(rows) < _ROWS
            tickets = [(key, list(group)) for key, group in groupby(rows, _KEY)]
            if not is_last:
                low = tickets.pop()[0]  # perhaps cut off; read again with the next
            if not tickets:
                if is_last:
                    break
                raise InvalidInputError(f"ticket {low} has more than {_ROWS} events")
            told = await _told(connection, tickets[0][0], tickets[-1][0])
            for ticket_id, events in tickets:
                if _is_wanted(events, question):
                    facts = facts_of_rows(events, peaks)
                    after = verdicts(facts, book, at_us)
                    comparison.add(ticket_id, group_of(facts), told.get(ticket_id, {}), after)
            if is_last:
                break
    finally:
        await connection.close()
    return comparison


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
