"""Who may do what at intake."""

from collections.abc import Collection
from typing import Final, Literal
from uuid import UUID

from services.intake.domain.ticket import Ticket
from services.intake.handlers import Sources, Tickets
from services.intake.queries import is_survivor
from shared.errors import ForbiddenError, NotFoundError
from shared.http.access import Access
from shared.http.auth import Caller
from shared.people import is_same, person
from shared.postgres.pool import Pool

ACCESS: Final = Access(
    {
        "POST /tickets": "requester:own integration agent manager admin",
        "POST /tickets:batch": "requester:own integration agent manager admin",
        "POST /events": "requester:own integration agent manager admin",
        "GET /tickets": "requester:own agent manager auditor admin",
        "GET /tickets/{id}": (
            "requester:own,survivor integration:reported agent manager auditor admin"
        ),
        "GET /tickets/{id}/comments": (
            "requester:own,survivor integration:reported agent manager auditor admin"
        ),
        "GET /tickets/{id}/links": (
            "requester:own,survivor integration:reported agent manager auditor admin"
        ),
        "POST /tickets/{id}/comments": (
            "requester:own,survivor integration:reported agent manager admin"
        ),
        "PATCH /tickets/{id}": "integration:reported agent manager admin",
        "POST /tickets/{id}/start": "agent manager admin",
        "POST /tickets/{id}/hold": "agent manager admin",
        "POST /tickets/{id}/resume": "agent manager admin",
        "POST /tickets/{id}/resolve": "agent manager admin",
        "POST /tickets/{id}/close": "requester:own agent manager admin",
        "POST /tickets/{id}/reopen": "requester:own integration:reported agent manager admin",
        "POST /tickets/{id}/cancel": "requester:own integration:reported agent manager admin",
        "POST /tickets/{id}/merge": "agent manager admin",
        "POST /tickets/{id}/rate": "requester:unworked",
        "GET /sources": "auditor admin",
        "PUT /sources": "admin",
        "report as a source": "integration admin",
        "read internal comments": "agent manager auditor admin",
        "write internal comments": "agent:others manager:others admin:others",
        "answer for the desk": "agent manager admin",
        "pass on what somebody said": "integration agent manager admin",
        "start for another agent": "manager admin",
        "split off from a ticket": "requester:own integration:reported agent manager admin",
    },
    {
        "own": "tickets whose requester they are",
        "survivor": "tickets that one of theirs was merged into, where its work goes on",
        "others": "tickets whose requester is somebody else",
        "reported": "tickets that they reported",
        "unworked": "tickets whose requester they are, and which they did not solve themselves",
    },
)


def relations(ticket: Ticket, caller: Caller) -> frozenset[str]:
    """Return what a ticket is to the caller, in the table's words; nothing, if it is not there."""
    if ticket.created is None:
        return frozenset()
    is_own = is_same(ticket.created.requester.id, caller.subject)
    holds = {
        "own": is_own,
        "others": not is_own,
        "reported": is_same(ticket.created.origin, door_of(caller)),
        "unworked": is_own and not is_same(ticket.resolved_by, caller.subject),
    }
    return frozenset(word for word, is_so in holds.items() if is_so)


def door_of(caller: Caller) -> str:
    """Return the origin of what a caller reports over HTTP."""
    return f"/http/{person(caller.subject)}"


def source_of(ticket: Ticket) -> str | None:
    """Return the CloudEvents source that reported a ticket; None for another door."""
    source, mark, _ = (
        ("", "", "") if ticket.created is None else ticket.created.origin.partition("#")
    )
    return source if mark else None


def starter(agent_id: str | None, caller: Caller) -> str:
    """Return who takes up the work. Raises: ForbiddenError for a colleague, unless by a manager."""
    starts = agent_id or caller.subject
    if starts != caller.subject and not caller.may("start for another agent"):
        raise ForbiddenError("an agent starts work of their own", field="/agent_id")
    return starts


def speaker(author_id: str | None, caller: Caller) -> tuple[str, Literal["requester", "agent"]]:
    """Return whose words a comment is, and for which side they count unless they are the asker's.

    What is passed on, and what a system says, never counts as an answer of the desk.
    """
    speaks = author_id or caller.subject
    is_passed_on = not is_same(speaks, caller.subject)
    if is_passed_on and not caller.may("pass on what somebody said"):
        raise ForbiddenError("a requester speaks for themselves", field="/author_id")
    is_answer = not is_passed_on and caller.may("answer for the desk")
    return speaks, "agent" if is_answer else "requester"


class Admission:
    """Asks what a ticket, or a source, is to a caller."""

    def __init__(self, tickets: Tickets, sources: Sources, pool: Pool) -> None:
        self._pool = pool
        self._tickets = tickets
        self._sources = sources

    async def admit(self, caller: Caller, ticket_id: UUID) -> None:
        """Raise NotFoundError where the row does not cover this ticket, as for one that is not."""
        if caller.grant.is_whole:
            return
        ticket = await self._tickets.state(ticket_id)
        if caller.grant.covers(await self._relations(caller, ticket)):
            return
        if "survivor" in caller.grant.relations and await is_survivor(
            self._pool, ticket_id, caller.subject
        ):
            return
        raise NotFoundError(f"no ticket {ticket_id}")

    async def may(self, right: str, caller: Caller, ticket: Ticket) -> bool:
        """Say whether a right, or a route, is the caller's with this ticket."""
        return caller.may(right, await self._relations(caller, ticket))

    async def _relations(self, caller: Caller, ticket: Ticket) -> frozenset[str]:
        found = relations(ticket, caller)
        source = source_of(ticket)
        if source is not None and await self._sources.is_theirs(source, caller.subject):
            return found | {"reported"}
        return found

    async def require_internal(self, caller: Caller, ticket_id: UUID) -> None:
        """Raise ForbiddenError for who writes an internal comment and is no agent here."""
        related = relations(await self._tickets.state(ticket_id), caller)
        if related and not caller.may("write internal comments", related):
            raise ForbiddenError(
                "only agents write internal comments, and not on tickets of their own",
                field="/visibility",
            )

    async def require_sources(self, sources: Collection[str], caller: Caller) -> None:
        """Raise ForbiddenError for another system's source; people report as themselves."""
        if caller.may("report as a source"):
            others = await self._sources.claim(sources, caller.subject)
            if others:
                raise ForbiddenError(f"{min(others)!r} is another system's", field="source")
