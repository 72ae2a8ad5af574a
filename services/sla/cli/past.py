"""The desk's past, ticket by ticket, straight from sla's database."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from services.sla.domain.clocks.facts import PLAIN, Peaks
from services.sla.domain.clocks.history import Fact
from services.sla.domain.clocks.inheritance import Bequest, bequest_of, passed_on
from services.sla.domain.clocks.rulebook import PolicyVersion, Rulebook
from services.sla.domain.files.reading import calendars_of
from services.sla.domain.outlook.whatif import Row, facts_of_rows
from services.sla.domain.rules.published import Publication, as_if_always, rules_of
from services.sla.domain.rules.publishing import RulesWanted, require_sound
from shared.calendar import microseconds
from shared.contracts.registry import decode_data, decode_event
from shared.errors import InvalidInputError

FIRST: Final = ""
BEYOND: Final = "g"
_ROWS: Final = 60_000
_KEY: Final = itemgetter(0)
_RULES: Final = """
SELECT type, value FROM kernel.journal WHERE stream_id IN (
    SELECT policy_id FROM read.policy UNION SELECT calendar_id FROM read.calendar
    UNION VALUES ('peaks')
) ORDER BY stream_id, sequence
"""
_EVENTS: Final = """
SELECT stream_id, writer, sequence, type, time, CASE WHEN type = ANY($1) THEN NULL ELSE value END
FROM read.history WHERE writer IN ('intake', 'routing') AND {wanted}
ORDER BY stream_id, writer, sequence
"""
_HISTORY: Final = _EVENTS.format(wanted="stream_id >= $2 AND stream_id < $3 AND type <> ALL($4)")
_GIVERS: Final = _EVENTS.format(wanted="stream_id = ANY($2)")
_HANDED_OVER: Final = """
SELECT stream_id, type, time, value FROM read.fact
WHERE type IN ('ticket.merged', 'ticket.linked') ORDER BY stream_id
"""

Connection = Any
"""A plain connection of asyncpg."""


class PastRules(NamedTuple):
    """Rules to judge the past by, and when there were peaks."""

    rulebook: Rulebook
    peaks: Peaks


async def read_rules(connection: Connection, wanted: RulesWanted, now: datetime) -> PastRules:
    """Return the newest published rules with those wanted in their place, as if always in force.

    Raises: InvalidInputError naming the field that makes no sense, or cannot be published.
    """
    published = [
        Publication(event.data, microseconds(event.time))
        for event in (
            decode_event(row["type"], row["value"]) for row in await connection.fetch(_RULES)
        )
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
    require_sound(wanted, published, now)
    return PastRules(book, rules_of(published).peaks)


async def chunks(
    connection: Connection, low: str = FIRST, high: str = BEYOND, without: Sequence[str] = ()
) -> AsyncIterator[Sequence[tuple[str, list[Row]]]]:
    """Yield tickets by the thousands, each with its events; ids from `low` up to `high`.

    Events of the types `without` are left out.
    Raises: InvalidInputError for a ticket with more events than are read at once.
    """
    is_last = False
    while not is_last:
        rows = await connection.fetch(
            f"{_HISTORY} LIMIT $5", list(PLAIN), low, high, without, _ROWS
        )
        is_last = len(rows) < _ROWS
        tickets = [(key, list(group)) for key, group in groupby(rows, _KEY)]
        if not is_last:
            low = tickets.pop()[0]  # perhaps cut off; read again with the next
            if not tickets:
                raise InvalidInputError(f"ticket {low} has more than {_ROWS} events")
        if tickets:
            yield tickets


async def heritage(
    connection: Connection, rules: PastRules, low: str = FIRST, high: str = BEYOND
) -> dict[str, list[Fact]]:
    """Return the due times that tickets with ids from `low` up to `high` take over, by heir.

    They are due under these rules. Tickets on the way to those are among them, whatever their ids.
    """
    given: dict[str, list[Bequest]] = {}
    for giver, event_type, time, value in await connection.fetch(_HANDED_OVER):
        bequest = bequest_of(decode_data(event_type, value), microseconds(time))
        if bequest is not None:
            given.setdefault(giver, []).append(bequest)
    given = _leading_to(given, low, high)
    rows = await connection.fetch(_GIVERS, list(PLAIN), list(given))
    facts = {giver: facts_of_rows(found, rules.peaks) for giver, found in groupby(rows, _KEY)}
    return passed_on(given, facts, rules.rulebook)


def _leading_to(
    given: Mapping[str, list[Bequest]], low: str, high: str
) -> dict[str, list[Bequest]]:
    """Return what leads, over others or not, to heirs with ids from `low` up to `high`."""
    givers: dict[str, list[str]] = {}
    for giver, bequests in given.items():
        for bequest in bequests:
            givers.setdefault(str(bequest.heir), []).append(giver)
    found: set[str] = set()
    waiting = [heir for heir in givers if low <= heir < high]
    while waiting:
        fresh = set(givers.get(waiting.pop(), ())) - found
        found |= fresh
        waiting.extend(fresh)
    return {giver: bequests for giver, bequests in given.items() if giver in found}
