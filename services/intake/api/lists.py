"""Lists of tickets over HTTP: what is left to do, and what is found by its words."""

from typing import Annotated, Literal, TypedDict

from fastapi import Query, Request

from services.intake import queries
from shared.contracts.base import Priority
from shared.errors import InvalidInputError
from shared.http.answers import Answer
from shared.http.pagination import Page, next_headers, next_link
from shared.http.words import asked_for
from shared.postgres.pool import Pool

Words = Annotated[
    str | None, Query(min_length=1, max_length=200, description="words in title or description")
]


def asked_of(  # noqa: PLR0913 a FastAPI dependency: one query parameter per filter
    *,
    status: Annotated[list[queries.StatusName] | None, Query()] = None,
    priority: Annotated[list[Priority] | None, Query()] = None,
    group: str | None = None,
    agent: str | None = None,
    requester: str | None = None,
    number: str | None = None,
    is_open: Annotated[bool | None, Query(alias="open", description="work to do, or none")] = None,
) -> queries.TicketFilter:
    """Return what the parameters of a list ask for."""
    return queries.TicketFilter(
        status=status,
        priority=priority,
        assigned_group=group,
        agent_id=agent,
        requester_id=requester,
        number=number,
        is_open=is_open,
    )


class TicketList(TypedDict):
    """A page of the board."""

    tickets: list[queries.TicketView]


class FoundTickets(TypedDict):
    """A page of what was found; `match` says whether each has all words or any."""

    tickets: list[queries.FoundTicket]
    match: Literal["all", "any"]


class CommentList(TypedDict):
    """A page of what was said on a ticket."""

    comments: list[queries.CommentView]


class LinkList(TypedDict):
    """A page of the tickets that a ticket has to do with."""

    links: list[queries.LinkView]


async def answer_list(
    request: Request,
    pool: Pool,
    wanted: queries.TicketFilter,
    sort: queries.Sort | None,
    window: Page,
) -> Answer[TicketList]:
    """Return a page of tickets. Raises: InvalidInputError for an order of what is searched."""
    if sort == "relevance":
        raise InvalidInputError("Only what is looked for by `q` has a relevance.", field="sort")
    order = sort or "newest"
    key = queries.NewestKey if order == "newest" else queries.PriorityKey
    tickets = await queries.list_tickets(
        pool, wanted, sort=order, limit=window.limit, after=window.after(key)
    )
    headers = next_headers(request, window, tickets, lambda last: queries.sort_key(last, order))
    return Answer({"tickets": tickets}, headers=headers)


async def answer_search(
    request: Request,
    pool: Pool,
    words: str,
    wanted: queries.TicketFilter,
    sort: queries.Sort | None,
    window: Page,
) -> Answer[FoundTickets]:
    """Return a page of the tickets found. Raises: InvalidInputError where no word is asked for."""
    found = await queries.find_tickets(
        pool,
        wanted,
        asked_for(words),
        sort=sort or "relevance",
        limit=window.limit,
        after=window.after(queries.FoundKey),
    )
    headers = {} if found.next is None else {"Link": next_link(request, found.next)}
    return Answer({"tickets": found.tickets, "match": found.match}, headers=headers)
