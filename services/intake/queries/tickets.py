"""What intake's board answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from services.intake.domain.record import NUMBER_FORM, number_in
from services.intake.tables import OPEN, RANK
from shared.contracts.base import Kind, Level, Priority
from shared.contracts.intake import TicketCreated
from shared.errors import NotFoundError
from shared.http.preferences import wait_until
from shared.people import person
from shared.postgres.pool import Connection, Pool

_LINKS_SHOWN: Final = 100
_LINKS: Final = f"""
    (SELECT coalesce(json_agg(json_build_object('ticket_id', linked_id, 'relation', relation)
        ORDER BY linked_id), '[]')::text FROM (
            SELECT linked_id, relation FROM read.link l WHERE l.ticket_id = board.ticket_id
            ORDER BY linked_id LIMIT {_LINKS_SHOWN}
        ) few)
"""
IS_SURVIVOR: Final = """
WITH RECURSIVE goes (ticket_id) AS (
    SELECT linked_id FROM read.board JOIN read.link USING (ticket_id)
    WHERE requester_id = $2 AND status = 'merged' AND relation = 'merged_into' UNION
    SELECT linked_id FROM goes JOIN read.link USING (ticket_id) WHERE relation = 'merged_into'
)
SELECT EXISTS (SELECT FROM goes WHERE ticket_id = $1)
"""
"""From the caller's own merged tickets on, which are few; many may have ended in one ticket."""
_PUBLIC: Final = " AND visibility = 'public'"
_NEW: Final = 1_000
"""So many of the newest numbers may be of tickets that are not on the board yet. While the log is
away for longer, older ones are found by their ids alone: a look costs the same however long."""
_WAIT_SECONDS: Final = 1.0
_BY_NUMBER: Final = "SELECT ticket_id FROM read.board WHERE number = $1 LIMIT 1"
_UNSENT: Final = """
SELECT stream_id::uuid FROM (SELECT * FROM kernel.outbox ORDER BY id DESC LIMIT $3) newest
JOIN kernel.journal j USING (stream_id, sequence)
WHERE sequence = 1 AND j.type = $1 AND position($2::bytea in j.value) > 0
"""
_IS_NEW: Final = """
SELECT is_called AND $1 BETWEEN last_value - $2 AND last_value FROM kernel.number
"""


StatusName = Literal["new", "in_progress", "on_hold", "resolved", "closed", "cancelled", "merged"]


class TicketView(msgspec.Struct, frozen=True):
    """One ticket as the board shows it. A null field is one that nobody has said yet."""

    ticket_id: UUID
    sequence: int
    number: str
    kind: Kind
    status: StatusName
    status_since: datetime
    priority: Priority | None
    title: str
    description: str
    requester_id: str
    requester_name: str | None
    contact: str | None
    department: str | None
    customer: str | None
    site: str | None
    channel: str
    occurred_at: datetime
    created_at: datetime
    updated_at: datetime
    impact: Level | None
    urgency: Level | None
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


_COLUMNS: Final = {"sequence": "activity_seq AS sequence"}
FIELDS: Final = ", ".join(_COLUMNS.get(name, name) for name in TicketView.__struct_fields__)
"""What is asked of the board for a `TicketView`, in the order of its fields."""


class LinkView(msgspec.Struct, frozen=True):
    """A ticket that another one was merged with, or split off from."""

    ticket_id: UUID
    relation: str


class TicketDetail(TicketView, frozen=True):
    """One ticket with the tickets that it was merged with, or split off from.

    There are 100 `links` at most; there is a list of them all.
    """

    links: list[LinkView]


class CommentView(msgspec.Struct, frozen=True):
    """Something said on a ticket; `sequence` is the ticket's when it was recorded."""

    sequence: int
    comment_id: UUID
    author_id: str
    author_role: str
    visibility: str
    text: str
    commented_at: datetime


Sort = Literal["newest", "priority", "relevance"]
NewestKey = tuple[datetime, UUID]
PriorityKey = tuple[str, datetime, UUID]


class TicketFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tickets a list shows; a null condition lets all through.

    `is_open`: there is work to do.
    """

    status: Sequence[str] | None = None
    priority: Sequence[str] | None = None
    assigned_group: str | None = None
    agent_id: str | None = None
    requester_id: str | None = None
    number: str | None = None
    is_open: bool | None = None


class Conditions:
    """The WHERE of a list. Only what is asked for is written, so that indexes can serve it."""

    def __init__(self, taken: int = 0) -> None:
        """Write conditions for a query that has so many values already."""
        self._taken = taken
        self._parts = ["record_seq IS NOT NULL"]
        self.values: list[object] = []

    @property
    def is_any(self) -> bool:
        """Whether there is a condition."""
        return len(self._parts) > 1

    def add_all(self, wanted: TicketFilter) -> None:
        """Add what a filter asks for."""
        self.add("status = ANY({0}::text[])", wanted.status)
        self.add("priority = ANY({0}::text[])", wanted.priority)
        self.add("assigned_group = {0}", wanted.assigned_group)
        self.add("agent_id = {0}", wanted.agent_id)
        self.add("requester_id = {0}", wanted.requester_id and person(wanted.requester_id))
        self.add("number = {0}", wanted.number)
        if wanted.is_open is not None:
            self.add(OPEN if wanted.is_open else f"NOT ({OPEN})")

    def add(self, condition: str, *values: object) -> None:
        """Add a condition that names its values {0}, {1}…; none if the first value is null."""
        if values and values[0] is None:
            return
        first = self._taken + len(self.values) + 1
        self._parts.append(condition.format(*(f"${first + n}" for n in range(len(values)))))
        self.values += values

    def __str__(self) -> str:
        """Return the conditions, all of which must hold."""
        return " AND ".join(self._parts)


async def read_ticket(pool: Pool, ticket_id: UUID) -> TicketDetail:
    """Return one ticket. Raises: NotFoundError when the board has no such ticket."""
    row = await pool.fetchrow(
        f"SELECT {FIELDS}, {_LINKS} FROM read.board"
        " WHERE ticket_id = $1 AND record_seq IS NOT NULL",
        ticket_id,
    )
    if row is None:
        raise NotFoundError(f"no ticket {ticket_id}")
    return TicketDetail(*row[:-1], links=msgspec.json.decode(row[-1], type=list[LinkView]))


async def is_survivor(pool: Pool, ticket_id: UUID, requester: str) -> bool:
    """Say whether a ticket of this requester was merged into this one, over however many others."""
    return await pool.fetchval(IS_SURVIVOR, ticket_id, person(requester))


def sort_key(ticket: TicketView, sort: Sort) -> NewestKey | PriorityKey:
    """Return where a ticket stands in a list, to go on behind it."""
    if sort == "newest":
        return ticket.created_at, ticket.ticket_id
    return ticket.priority or "none", ticket.created_at, ticket.ticket_id


async def list_tickets(
    pool: Pool,
    wanted: TicketFilter,
    *,
    sort: Sort,
    limit: int,
    after: NewestKey | PriorityKey | None,
) -> list[TicketView]:
    """Return tickets from behind the one at `after` on.

    `newest` first, or by `priority`: P1 first, within a priority the oldest first, which is the
    order in which they should be worked on.
    """
    where = Conditions()
    where.add_all(wanted)
    if sort == "newest":
        order = "created_at DESC, ticket_id DESC"
        where.add("(created_at, ticket_id) < ({0}, {1})", *(after or (None,)))
    else:
        order = f"{RANK}, created_at, ticket_id"
        where.add(f"({RANK}, created_at, ticket_id) > ({{0}}, {{1}}, {{2}})", *(after or (None,)))
    rows = await pool.fetch(
        f"SELECT {FIELDS} FROM read.board WHERE {where} ORDER BY {order} LIMIT {limit:d}",
        *where.values,
    )
    return [TicketView(*row) for row in rows]


async def list_comments(
    pool: Pool, ticket_id: UUID, *, public_only: bool, limit: int, after: int
) -> list[CommentView]:
    """Return what was said on a ticket behind a sequence, the oldest first."""
    rows = await pool.fetch(
        "SELECT comment_seq, comment_id, author_id, author_role, visibility, body, commented_at"
        f" FROM read.comment WHERE ticket_id = $1 AND comment_seq > $2{_PUBLIC * public_only}"
        " ORDER BY comment_seq LIMIT $3",
        *(ticket_id, after, limit),
    )
    return [CommentView(*row) for row in rows]


async def list_links(pool: Pool, ticket_id: UUID, *, limit: int, after: UUID) -> list[LinkView]:
    """Return the tickets that have to do with this one, behind one of them, by id."""
    rows = await pool.fetch(
        "SELECT linked_id, relation FROM read.link WHERE ticket_id = $1 AND linked_id > $2"
        " ORDER BY linked_id LIMIT $3",
        *(ticket_id, after, limit),
    )
    return [LinkView(*row) for row in rows]


async def board_sequence(pool: Pool, ticket_id: UUID) -> int:
    """Return up to which of intake's own events the board knows the ticket."""
    known = await pool.fetchval(
        "SELECT activity_seq FROM read.board WHERE ticket_id = $1", ticket_id
    )
    return known or 0


async def find_ticket(pool: Pool, number: str) -> UUID | None:
    """Return the ticket that has a number, None where none has.

    A number that was only just given is waited for: its ticket may be in the journal alone yet.
    """
    found: UUID | None = None

    async def is_found() -> bool:
        nonlocal found
        found = await pool.fetchval(_BY_NUMBER, number)
        return found is not None

    if await is_found() or (own := number_in(number)) is None:
        return found
    if await pool.fetchval(_IS_NEW, own, _NEW):
        name = b'"number":%s' % msgspec.json.encode(number)
        found = await pool.fetchval(_UNSENT, TicketCreated.TYPE, name, 10 * _NEW)
        if found is None:
            await wait_until(is_found, _WAIT_SECONDS)
    return found


async def newest_number(connection: Connection) -> int:
    """Return the highest of the desk's own numbers among the newest thousand tickets; 0 for none.

    By the index on `created_at`; a ticket made by this desk is newer than those before it.
    """
    rows = await connection.fetch(
        "SELECT number FROM read.board WHERE created_at IS NOT NULL"
        " ORDER BY created_at DESC LIMIT 1000"
    )
    return max((number_in(row[0]) or 0 for row in rows), default=0)


async def highest_number(connection: Connection) -> int:
    """Return the highest of the desk's own numbers; 0 for none. Reads the whole board."""
    return await connection.fetchval(
        "SELECT coalesce(max(substring(number from $1)::bigint), 0) FROM read.board", NUMBER_FORM
    )
