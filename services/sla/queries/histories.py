"""What is known of tickets as far as it can move their clocks, however much was said on them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, get_args

import asyncpg

from services.sla.domain.clocks.rulebook import MESSAGES, Rulebook
from shared.contracts.intake import TicketCreated
from shared.contracts.registry import Recorded, decode_shared, history_order
from shared.contracts.sla import ClockEvent
from shared.postgres.pool import Connection

_FEW: Final = 32
_OWN_WORDS: Final = tuple(event.TYPE for event in get_args(ClockEvent))
"""What sla says of clocks: that it knows from its journal."""
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC), 0
_LAST: Final = 2_147_483_647  # behind every sequence
_BEFORE: Final = "xmin <> pg_current_xact_id()::xid"
"""Of facts: this transaction has not written it. So one that comes again was known before."""
_FACTS: Final = f"""
SELECT stream_id, type, value FROM read.fact
WHERE stream_id = ANY($1::text[]) AND type <> ALL($2::text[]) AND {_BEFORE}
"""
_CREATED: Final = f"""
SELECT stream_id, type, value FROM read.fact
WHERE stream_id = ANY($1::text[]) AND type = '{TicketCreated.TYPE}' AND {_BEFORE}
"""
_FIRST_SAID: Final = f"""
SELECT a.stream_id, s.type, s.value FROM unnest($1::text[]) a(stream_id), LATERAL (
    SELECT type, value FROM read.said s
    WHERE s.stream_id = a.stream_id AND {_BEFORE} ORDER BY writer, sequence LIMIT $2
) s
"""
_NEXT_SAID: Final = f"""
    SELECT s.kind, s.time, s.sequence FROM read.said s
    WHERE s.stream_id = b.stream_id AND s.kind = k.kind AND {_BEFORE}
        AND (s.time, s.sequence) > (b.time, b.sequence)
    ORDER BY s.time, s.sequence LIMIT 1
"""
_SAID: Final = f"""
WITH RECURSIVE pick (stream_id, kind, time, sequence, step) AS (
    SELECT b.stream_id, m.*, 1 FROM unnest($1::text[], $2::timestamptz[], $3::int[])
        b(stream_id, time, sequence), unnest($4::text[]) k(kind), LATERAL ({_NEXT_SAID}) m
    UNION
    SELECT b.stream_id, m.*, b.step + $5 FROM pick b, unnest($4::text[]) k(kind),
        LATERAL ({_NEXT_SAID}) m
    WHERE b.step < 2 AND (k.kind <> b.kind OR $6)
)
SELECT p.stream_id, s.type, s.value FROM (SELECT DISTINCT stream_id, sequence FROM pick) p,
LATERAL (
    SELECT type, value FROM read.said s
    WHERE s.stream_id = p.stream_id AND s.writer = 'intake' AND s.sequence = p.sequence OFFSET 0
) s
"""
"""What was said first, of each kind, behind each other event, and what was said first behind that.

A clock that ran or not goes on like that until something makes it stop or start. What stops or
starts it next is therefore the first of its kind behind what did so last: behind another event or
behind a message of the other kind. If no cycle repeats, a message opens one at most once, and two
steps reach all; else they go on as long as the two kinds take turns, which is as often as clocks
start and stop. Only where one kind does both, each of them counts.
"""


class _Asked(NamedTuple):
    """Kinds of messages that rules ask for; the step that counts, whether one kind does both."""

    kinds: tuple[str, ...]
    step: int
    is_both: bool


def _asked(rules: Rulebook) -> _Asked:
    targets = [
        (target, start, stop)
        for target in rules.targets
        for start, stop in [(target.start.words & {*MESSAGES}, target.stop.words & {*MESSAGES})]
        if start or stop
    ]
    return _Asked(
        rules.messages,
        0 if any(target.is_repeated for target, _, _ in targets) else 1,
        any(start & stop for _, start, stop in targets),
    )


async def read_moving(
    connection: Connection,
    ticket_ids: Collection[str],
    rules: Rulebook,
    news: Iterable[Recorded] = (),
) -> dict[str, list[Recorded]]:
    """Return of each ticket the events that can move a clock, in the order of R4.

    It is what was known before this transaction. Of comments there are those that make a difference
    under these rules, also beside any of the `news` that it has read; and perhaps others.
    """
    found: dict[str, list[Recorded]] = {ticket_id: [] for ticket_id in ticket_ids}
    for ticket_id, event_type, value in await connection.fetch(
        _FACTS, list(found), list(_OWN_WORDS)
    ):
        found[ticket_id].append(decode_shared(event_type, value))
    asked = _asked(rules)
    if asked.kinds:
        said = await _first_said(connection, found)
        many = {name: [*found[name]] for name, comments in said.items() if len(comments) > _FEW}
        for event in news if many else ():
            if event.stream_id in many:
                many[event.stream_id].append(event)
        if many:
            said |= await _moving_said(connection, many, asked)
        for ticket_id, comments in said.items():
            found[ticket_id] += comments
    return {ticket_id: history_order(events) for ticket_id, events in found.items()}


async def read_created(
    connection: Connection, ticket_ids: Collection[str]
) -> dict[str, list[Recorded]]:
    """Return with what tickets began, as far as that was known before this transaction."""
    if not ticket_ids:
        return {}
    return _by_ticket(await connection.fetch(_CREATED, list(ticket_ids)))


async def _first_said(
    connection: Connection, ticket_ids: Collection[str]
) -> dict[str, list[Recorded]]:
    return _by_ticket(await connection.fetch(_FIRST_SAID, list(ticket_ids), _FEW + 1))


async def _moving_said(
    connection: Connection, events: Mapping[str, Sequence[Recorded]], asked: _Asked
) -> dict[str, list[Recorded]]:
    places = [(ticket_id, *place) for ticket_id in events for place in _places(events[ticket_id])]
    streams, times, sequences = ([place[n] for place in places] for n in range(3))
    rows = await connection.fetch(_SAID, streams, times, sequences, *asked)
    return {ticket_id: list[Recorded]() for ticket_id in events} | _by_ticket(rows)


def _places(events: Sequence[Recorded]) -> Iterator[tuple[datetime, int]]:
    """Yield where to look from: at each event's instant, and behind it where it has a place."""
    yield _BEGINNING
    for event in events:
        yield event.time, 0
        # Of an instant, intake's facts come first: what is said then lies before others' facts.
        yield event.time, event.sequence if event.writer == "intake" else _LAST


def _by_ticket(rows: Iterable[asyncpg.Record]) -> dict[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = {}
    for ticket_id, event_type, value in rows:
        found.setdefault(ticket_id, []).append(decode_shared(event_type, value))
    return found
