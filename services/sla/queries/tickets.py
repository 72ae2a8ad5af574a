"""Tickets as people name them, for lists of clocks."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from services.sla.domain.clocks.views import ClockView
from services.sla.domain.outlook.preview import ClockChange
from services.sla.domain.outlook.survival import AtRisk
from shared.contracts.intake import TicketCreated
from shared.contracts.registry import decode_shared
from shared.postgres.pool import Connection

_NAMES: Final = """
SELECT ticket_id, number, title, priority, assigned_group AS "group" FROM read.ticket
WHERE ticket_id = ANY($1::uuid[])
"""
_NAMELESS: Final[dict[str, Any]] = dict.fromkeys(("number", "title", "priority", "group"))


class NamedClock(ClockView, frozen=True, kw_only=True):
    """A clock, and how its ticket is called."""

    number: str | None
    title: str | None
    priority: str | None
    group: str | None


class NamedAtRisk(AtRisk, frozen=True, kw_only=True):
    """A clock at risk, and how its ticket is called."""

    number: str | None
    title: str | None


class NamedChange(ClockChange, frozen=True, kw_only=True):
    """A clock that would change, and how its ticket is called."""

    number: str | None
    title: str | None
    priority: str | None
    group: str | None


_Named = TypeVar("_Named", NamedClock, NamedAtRisk, NamedChange)


async def with_names(
    connection: Connection, found: Sequence[msgspec.Struct], named: type[_Named]
) -> list[_Named]:
    """Return structs that have a `ticket_id` as ones that name the ticket as well.

    Number, title, priority and group are null for a ticket of which only clocks are known; what a
    struct itself has under such a name stays.
    """
    fields: list[dict[str, Any]] = [msgspec.structs.asdict(one) for one in found]
    tickets = {UUID(str(one["ticket_id"])) for one in fields}
    rows = await connection.fetch(_NAMES, list(tickets))
    names: dict[UUID, dict[str, Any]] = {row["ticket_id"]: dict(row) for row in rows}
    return [
        named(**(_NAMELESS | names.get(UUID(str(one["ticket_id"])), {}) | one)) for one in fields
    ]


async def live_tickets(connection: Connection, ticket_ids: Sequence[str]) -> set[str]:
    """Return which of these tickets sla knows to be made at this desk."""
    rows = await connection.fetch(
        "SELECT stream_id, value FROM read.fact WHERE stream_id = ANY($1::text[]) AND type = $2",
        *(list(ticket_ids), TicketCreated.TYPE),
    )
    return {name for name, value in rows if not decode_shared(TicketCreated.TYPE, value).history}
