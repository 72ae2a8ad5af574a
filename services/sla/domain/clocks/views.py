"""What lists of clocks show, and which running clocks are asked for."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from services.sla.domain.clocks.explain import ClockReading
from shared.contracts.promises import Goal, WarnRule


class ClockView(msgspec.Struct, frozen=True):
    """One clock; `state` is open, paused, breached (and still running), met, missed, cancelled.

    `warned` is the rule of the last warning.
    """

    ticket_id: UUID
    target: str
    cycle: int
    generation: int
    kind: str | None
    started_at: datetime | None
    goal: Goal | None
    calendar: str | None
    policy_id: str | None
    policy_version: int | None
    state: str
    due_at: datetime | None
    pause_reason: str | None
    warned: WarnRule | None
    breached_at: datetime | None
    stopped_at: datetime | None
    source_system: str | None


class PromisedClock(msgspec.Struct, frozen=True, kw_only=True):
    """What was promised to a requester, as they see it: until when, and how it goes.

    How the desk organises its work is not in it: rules, goals, warnings, agreements inside.
    """

    target: str
    cycle: int
    started_at: datetime | None
    due_at: datetime | None
    outcome: str
    stopped_at: datetime | None
    remaining_seconds: int | None
    remaining_wall_seconds: int | None
    paused_for: str | None
    paused_since: datetime | None


def promised_clocks(clocks: Iterable[ClockReading]) -> list[PromisedClock]:
    """Return what the requester may see; of a clock that other rules took over, the last state."""
    return [
        PromisedClock(**{name: getattr(clock, name) for name in PromisedClock.__struct_fields__})
        for clock in clocks
        if clock.kind == "sla" and clock.outcome != "superseded"
    ]


class AtRiskAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which running clocks to list, as of `at`; a null condition lets all through."""

    at: datetime
    limit: int
    group: str | None = None
    priority: str | None = None
    is_overdue: bool = False
