"""The published rules."""

from functools import lru_cache

from services.sla.domain.clocks.facts import PEAKS
from services.sla.domain.rules.defaults import STANDARD_POLICY
from services.sla.domain.rules.published import Publication, Rules, calendar_names, rules_of
from shared.calendar import microseconds
from shared.contracts.registry import decode_event
from shared.journal.journal import Journal
from shared.postgres.pool import Connection


async def load_rules(connection: Connection, journal: Journal) -> Rules:
    """Return all rules that tickets are judged by, as the journal has them."""
    policies = await _policies(connection, journal)
    calendars = await journal.read_values(connection, _calendars_named(policies))
    return _prepared((*policies, *calendars))


async def read_publications(connection: Connection, journal: Journal) -> list[Publication]:
    """Return every version of every rule, of each stream in sequence."""
    policies = await _policies(connection, journal)
    rows = await connection.fetch("SELECT calendar_id FROM read.calendar")
    names = _calendars_named(policies).union(row["calendar_id"] for row in rows)
    calendars = await journal.read_values(connection, names)
    return [decoded(*one) for one in (*policies, *calendars)]


_Published = tuple[tuple[str, bytes], ...]
"""Types and bytes of events that publish rules."""


async def _policies(connection: Connection, journal: Journal) -> _Published:
    """Return every version of every policy, and the declared peaks."""
    rows = await connection.fetch("SELECT policy_id FROM read.policy")
    names = {STANDARD_POLICY, PEAKS, *(row["policy_id"] for row in rows)}
    return await journal.read_values(connection, names)


def decoded(event_type: str, value: bytes) -> Publication:
    """Return an event of the journal as what it published, and when."""
    event = decode_event(event_type, value)
    return Publication(event.data, microseconds(event.time))


@lru_cache(maxsize=8)
def _calendars_named(published: _Published) -> frozenset[str]:
    return frozenset(calendar_names(decoded(*one).data for one in published))


@lru_cache(maxsize=8)
def _prepared(published: _Published) -> Rules:
    """Kept between batches, because a calendar learns the days it is asked about."""
    return rules_of(decoded(*one) for one in published)
