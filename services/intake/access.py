"""Who may do what at intake."""

from collections.abc import Collection, Mapping
from typing import Final, Literal
from uuid import UUID

from services.intake.domain.record import PEOPLE
from services.intake.domain.ticket import Ticket
from services.intake.handlers import Sources, Tickets
from services.intake.queries import is_survivor
from shared.errors import DeskError, ForbiddenError, NotFoundError
from shared.http.access import Access
from shared.http.auth import Caller, Role
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
        "have a source": "integration",
        "read internal comments": "agent manager auditor admin",
        "write internal comments": "agent:others manager:others admin:others",
        "answer for the desk": "agent manager admin",
        "name a customer": "integration agent manager admin",
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
        "unworked": is_own and not is_same(ticket.resolved_by, caller.subject),
    }
    return frozenset(word for word, is_so in holds.items() if is_so)


def door_of(caller: Caller) -> str:
    """Return the origin of what a caller reports over HTTP."""
    return f"{PEOPLE}{person(caller.subject)}"


def starter(agent_id: str | None, caller: Caller) -> str:
    """Return who takes up the work. Raises: ForbiddenError for a colleague, unless by a manager."""
    starts = agent_id or caller.subject
    if starts != caller.subject and not caller.may("start for another agent"):
        raise ForbiddenError("an agent starts work of their own", field="/agent_id")
    return starts


def speaker(
    author_id: str | None, caller: Caller, related: Collection[str]
) -> tuple[str, Literal["requester", "agent"]]:
    """Return whose words a comment is, and for which side they count unless they are the asker's.

    `related` is what the ticket is to the caller. What is passed on, and what a system says, never
    counts as an answer of the desk.
    """
    speaks = author_id or caller.subject
    is_passed_on = not is_same(speaks, caller.subject)
    if is_passed_on and not caller.may("pass on what somebody said", related):
        raise ForbiddenError("a requester speaks for themselves", field="/author_id")
    is_answer = not is_passed_on and caller.may("answer for the desk", related)
    return speaks, "agent" if is_answer else "requester"


class Admission:
    """Asks what a ticket, or a source, is to a caller."""

    def __init__(self, tickets: Tickets, sources: Sources, pool: Pool) -> None:
        self._pool = pool
        self._tickets = tickets
        self._sources = sources

    async def admit(self, caller: Caller, ticket_id: UUID) -> frozenset[str]:
        """Return what the ticket is to a caller whom the row lets do it; not asked if it is any.

        Raises: NotFoundError, as for a ticket that is not there.
        """
        if caller.grant.is_whole:
            return frozenset()
        related = await self._relations(caller, await self._tickets.state(ticket_id))
        if caller.grant.covers(related):
            return related
        if caller.grant.covers({"survivor"}) and await is_survivor(
            self._pool, ticket_id, caller.subject
        ):
            return related | {"survivor"}
        raise NotFoundError(f"no ticket {ticket_id}")

    async def may(self, right: str, caller: Caller, ticket: Ticket) -> bool:
        """Say whether a right, or a route, is the caller's with this ticket."""
        return caller.may(right, await self._relations(caller, ticket))

    async def _relations(self, caller: Caller, ticket: Ticket) -> frozenset[str]:
        """Return what a ticket is to the caller; who reported it, only integrations are asked."""
        found = relations(ticket, caller)
        if ticket.created is None or Role.INTEGRATION not in caller.principal.roles:
            return found
        reporter = await self._sources.reporter(ticket.created.ticket_id)
        return found | {"reported"} if is_same(reporter, caller.subject) else found

    async def require_internal(self, caller: Caller, ticket_id: UUID) -> None:
        """Raise ForbiddenError for who writes an internal comment and is no agent here."""
        related = relations(await self._tickets.state(ticket_id), caller)
        if related and not caller.may("write internal comments", related):
            raise ForbiddenError(
                "only agents write internal comments, and not on tickets of their own",
                field="/visibility",
            )

    async def claim(self, sources: Collection[str], caller: Caller) -> Mapping[str, DeskError]:
        """Return which of these sources are not the caller's to report as, and why.

        A system has what it reports as first. An admin reports as any and has none; people report
        as themselves, whatever source they name.
        """
        if not sources or not caller.may("have a source"):
            return {}
        return await self._sources.claim(sources, caller.subject)
