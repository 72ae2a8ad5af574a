"""Tickets as people name them, for lists of clocks."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from shared.contracts.intake import TicketCreated
from shared.contracts.registry import decode_shared
from shared.postgres.pool import Connection

_NAMES: Final = """
SELECT ticket_id, number, title, priority, assigned_group AS "group" FROM read.ticket
WHERE ticket_id = ANY($1::uuid[])
"""
_NAMELESS: Final = dict.fromkeys(("number", "title", "priority", "group"))


async def with_names(
    connection: Connection, found: Sequence[msgspec.Struct]
) -> list[dict[str, Any]]:
    """Return structs that have a `ticket_id` as objects that name the ticket as well.

    Number, title, priority and group are null for a ticket of which only clocks are known; what a
    struct itself has under such a name stays.
    """
    fields = [msgspec.structs.asdict(one) for one in found]
    tickets = {UUID(str(one["ticket_id"])) for one in fields}
    rows = await connection.fetch(_NAMES, list(tickets))
    names = {row["ticket_id"]: row for row in rows}
    return [{**_NAMELESS, **names.get(UUID(str(one["ticket_id"])), {}), **one} for one in fields]


async def live_tickets(connection: Connection, ticket_ids: Sequence[str]) -> set[str]:
    """Return which of these tickets sla knows to be made at this desk."""
    rows = await connection.fetch(
        "SELECT stream_id, value FROM read.fact WHERE stream_id = ANY($1::text[]) AND type = $2",
        *(list(ticket_ids), TicketCreated.TYPE),
    )
    return {name for name, value in rows if not decode_shared(TicketCreated.TYPE, value).history}
