"""What intake's board answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from services.intake.tables import BOARD
from shared.errors import NotFoundError
from shared.postgres.pool import Pool

_FIELDS: Final = """
    ticket_id, activity_seq AS sequence, number, kind, status, status_since, priority, title,
    description, requester_id, requester_name, contact, department, channel, occurred_at,
    created_at, updated_at, impact, urgency, people, sites, category, service, assigned_group,
    agent_id, line, hold_reason, resolution, score
"""


class TicketView(msgspec.Struct, frozen=True):
    """One ticket as the board shows it. A null field is one that nobody has said yet."""

    ticket_id: UUID
    sequence: int | None
    number: str | None
    kind: str | None
    status: str | None
    status_since: datetime | None
    priority: str | None
    title: str | None
    description: str | None
    requester_id: str | None
    requester_name: str | None
    contact: str | None
    department: str | None
    channel: str | None
    occurred_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    impact: str | None
    urgency: str | None
    people: int | None
    sites: int | None
    category: str | None
    service: str | None
    assigned_group: str | None
    agent_id: str | None
    line: int | None
    hold_reason: str | None
    resolution: str | None
    score: int | None


class CommentView(msgspec.Struct, frozen=True):
    """Something said on a ticket."""

    comment_id: UUID
    author_id: str
    author_role: str
    visibility: str
    text: str
    commented_at: datetime


class TicketFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tickets a list shows; a null condition lets all through."""

    status: Sequence[str] | None = None
    priority: Sequence[str] | None = None
    assigned_group: str | None = None
    agent_id: str | None = None
    requester_id: str | None = None
    number: str | None = None


async def read_ticket(pool: Pool, ticket_id: UUID) -> TicketView:
    """Return one ticket. Raises: NotFoundError when the board has no such ticket."""
    row = await pool.fetchrow(
        f"SELECT {_FIELDS} FROM read.{BOARD.name} WHERE ticket_id = $1 AND record_seq IS NOT NULL",
        ticket_id,
    )
    if row is None:
        raise NotFoundError(f"no ticket {ticket_id}")
    return TicketView(*row)


async def list_tickets(
    pool: Pool, wanted: TicketFilter, *, limit: int, after: tuple[datetime, UUID] | None
) -> list[TicketView]:
    """Return tickets, the newest first, from behind the one created at `after` on."""
    rows = await pool.fetch(
        f"""
        SELECT {_FIELDS} FROM read.{BOARD.name}
        WHERE record_seq IS NOT NULL
          AND ($1::text[] IS NULL OR status = ANY($1))
          AND ($2::text[] IS NULL OR priority = ANY($2))
          AND ($3::text IS NULL OR assigned_group = $3)
          AND ($4::text IS NULL OR agent_id = $4)
          AND ($5::text IS NULL OR requester_id = $5)
          AND ($6::text IS NULL OR number = $6)
          AND ($7::timestamptz IS NULL OR (created_at, ticket_id) < ($7, $8))
        ORDER BY created_at DESC, ticket_id DESC LIMIT $9
        """,
        wanted.status,
        wanted.priority,
        wanted.assigned_group,
        wanted.agent_id,
        wanted.requester_id,
        wanted.number,
        *(after or (None, None)),
        limit,
    )
    return [TicketView(*row) for row in rows]


async def list_comments(pool: Pool, ticket_id: UUID, *, public_only: bool) -> list[CommentView]:
    """Return what was said on a ticket, the oldest first."""
    rows = await pool.fetch(
        "SELECT comment_id, author_id, author_role, visibility, body, commented_at"
        " FROM read.comment WHERE ticket_id = $1 AND (NOT $2 OR visibility = 'public')"
        " ORDER BY comment_seq",
        ticket_id,
        public_only,
    )
    return [CommentView(*row) for row in rows]


async def board_sequence(pool: Pool, ticket_id: UUID) -> int:
    """Return up to which of intake's own events the board knows the ticket."""
    known = await pool.fetchval(
        "SELECT activity_seq FROM read.board WHERE ticket_id = $1", ticket_id
    )
    return known or 0
