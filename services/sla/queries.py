"""What sla's clocks and rules answer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

import msgspec

from services.sla.domain.defaults import STANDARD_POLICY
from shared.calendar import ROUND_THE_CLOCK, WorkingCalendar, round_the_clock
from shared.contracts.registry import Recorded, decode_event
from shared.contracts.sla import SlaCalendarPublished, SlaPolicyPublished
from shared.journal.journal import Journal
from shared.postgres.pool import Connection, Pool

_FIELDS: Final = """
    ticket_id, target, cycle, generation, kind, started_at, goal_seconds, calendar, policy_version,
    CASE WHEN outcome IS NOT NULL THEN outcome WHEN is_paused THEN 'paused'
         WHEN breached_at IS NOT NULL THEN 'breached' ELSE 'open' END,
    due_at, pause_reason, percent, breached_at, stopped_at, source_system
"""


class ClockView(msgspec.Struct, frozen=True):
    """One clock; `state` is open, paused, breached (and still running), met, missed, cancelled."""

    ticket_id: UUID
    target: str
    cycle: int
    generation: int
    kind: str | None
    started_at: datetime | None
    goal_seconds: int | None
    calendar: str | None
    policy_version: int | None
    state: str
    due_at: datetime | None
    pause_reason: str | None
    warned_percent: int | None
    breached_at: datetime | None
    stopped_at: datetime | None
    source_system: str | None


async def read_clocks(pool: Pool, ticket_id: UUID) -> list[ClockView]:
    """Return the ticket's clocks by target, cycle and generation; none for an unknown ticket."""
    rows = await pool.fetch(
        f"SELECT {_FIELDS} FROM read.clock WHERE ticket_id = $1 ORDER BY 2, 3, 4", ticket_id
    )
    return [ClockView(*row) for row in rows]


async def list_running(pool: Pool, *, limit: int) -> list[ClockView]:
    """Return running clocks, the one due first first."""
    rows = await pool.fetch(
        f"SELECT {_FIELDS} FROM read.clock WHERE outcome IS NULL AND due_at IS NOT NULL"
        " ORDER BY due_at LIMIT $1",
        limit,
    )
    return [ClockView(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Rules:
    """The published rules: every version of the policy with the instant it came into force."""

    policies: Sequence[Recorded]
    calendars: Mapping[str, WorkingCalendar]

    def policy_for(self, history: Sequence[Recorded]) -> SlaPolicyPublished | None:
        """Return the version in force when the ticket was created; else the first there was."""
        created_at = history[0].time
        in_force = [event for event in self.policies if event.time <= created_at]
        chosen = in_force[-1] if in_force else next(iter(self.policies), None)
        policy = None if chosen is None else chosen.data
        return policy if isinstance(policy, SlaPolicyPublished) else None


async def load_rules(connection: Connection, journal: Journal) -> Rules:
    """Read the policy's versions, and the calendars they name, from the journal."""
    policies = (await journal.read(connection, [STANDARD_POLICY]))[STANDARD_POLICY]
    names = {
        target.calendar
        for event in policies
        if isinstance(event.data, SlaPolicyPublished)
        for target in event.data.targets
    }
    return Rules(policies, await load_calendars(connection, journal, names))


async def load_calendars(
    connection: Connection, journal: Journal, names: Collection[str]
) -> dict[str, WorkingCalendar]:
    """Return the newest version of those calendars that exist, the built-in one among them."""
    calendars = {ROUND_THE_CLOCK: round_the_clock()}
    for name, events in (await journal.read(connection, set(names) - calendars.keys())).items():
        if events and isinstance(events[-1].data, SlaCalendarPublished):
            calendars[name] = _calendar(events[-1].data.TYPE, events[-1].value)
    return calendars


@lru_cache(maxsize=256)
def _calendar(event_type: str, value: bytes) -> WorkingCalendar:
    """Return a published calendar; kept, because a calendar learns the days it is asked about."""
    published = decode_event(event_type, value).data
    if not isinstance(published, SlaCalendarPublished):
        raise TypeError(f"{event_type} publishes no calendar")
    return WorkingCalendar.published(published)
