"""What lists of clocks, outages and maintenance show, and which running clocks are asked for."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


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
    goal: dict[str, Any] | None
    calendar: str | None
    policy_id: str | None
    policy_version: int | None
    state: str
    due_at: datetime | None
    pause_reason: str | None
    warned: dict[str, Any] | None
    breached_at: datetime | None
    stopped_at: datetime | None
    source_system: str | None


class AtRiskAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which running clocks to list, as of `at`; a null condition lets all through."""

    at: datetime
    limit: int
    group: str | None = None
    priority: str | None = None
    is_overdue: bool = False


class OutageView(msgspec.Struct, frozen=True):
    """An outage as it was recorded last."""

    outage_id: str
    service: str
    started_at: datetime
    ended_at: datetime | None
    source: str
    ticket_id: UUID | None
    is_withdrawn: bool


class MaintenanceView(msgspec.Struct, frozen=True):
    """A maintenance as it was told last."""

    maintenance_id: str
    service: str
    starts_at: datetime
    ends_at: datetime
    is_cancelled: bool
