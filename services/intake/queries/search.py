"""Tickets found by the words in their title or description."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from asyncpg import Record

from services.intake.queries.tickets import FIELDS, Conditions, Sort, TicketFilter, TicketView
from services.intake.tables import RANK
from shared.people import person
from shared.postgres.pool import Connection, Pool
from shared.search.finding import (
    ANY_MIN,
    NEWEST,
    POOL_MAX,
    VISITED_MAX,
    Match,
    Place,
    Texts,
    either,
    every,
)
from shared.search.highlights import Highlight, highlight
from shared.search.terms import SearchTerms


class FoundTicket(TicketView, frozen=True):
    """A ticket that was found by its words.

    `relevance` compares it with the others of its pool; null where they are in another order.
    """

    relevance: float | None = None
    highlights: tuple[Highlight, ...] = ()


FoundKey = tuple[bool, datetime, UUID, int]
"""Whether all words are there; from where on the pool was taken; how many of it were shown."""


class Found(msgspec.Struct, frozen=True):
    """A page of what was found; `match` says whether each has all words or any, `next` where on."""

    tickets: list[FoundTicket]
    match: Literal["all", "any"]
    next: FoundKey | None


_TEXTS: Final = Texts("ticket_id")
_BY_RANK: Final = f"""
SELECT ticket_id FROM read.board WHERE ticket_id = ANY($1::uuid[])
ORDER BY {RANK}, created_at, ticket_id
"""


async def find_tickets(
    pool: Pool,
    wanted: TicketFilter,
    asked: SearchTerms,
    *,
    sort: Sort,
    limit: int,
    after: FoundKey | None,
) -> Found:
    """Return a page of the tickets that have all words; if there is none, of those that have any.

    By `newest`, exactly. By `relevance` or `priority` within pools of the newest that pass the
    filter: when all of a pool were shown, the next one is of older tickets. A page may be short
    where few pass the filter, and still lead on.
    """
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        has_all, at, key, shown = after or (True, *NEWEST, 0)
        search = _Search(connection, wanted, asked, sort, limit)
        found = await search.page((at, key), shown, has_all=has_all)
        if after is None and not found.tickets and found.next is None:
            found = await search.page(NEWEST, 0, has_all=False)
        return found


class _Search:
    """One question for tickets, on one snapshot."""

    def __init__(
        self,
        connection: Connection,
        wanted: TicketFilter,
        asked: SearchTerms,
        sort: Sort,
        limit: int,
    ) -> None:
        self._connection = connection
        self._owner = wanted.requester_id and person(wanted.requester_id)
        self._asked = asked
        self._sort: Sort = sort
        self._limit = limit
        self._filter = Conditions(taken=5)
        self._filter.add_all(msgspec.structs.replace(wanted, requester_id=None))

    async def page(self, start: Place, shown: int, *, has_all: bool) -> Found:
        """Return a page of a pool: all from one query, or the newest of each, which is the last."""
        queries = [every(self._asked, self._owner)]
        pool_max = {"newest": self._limit, "relevance": POOL_MAX, "priority": VISITED_MAX}[
            self._sort
        ]
        visited_max = VISITED_MAX if self._filter.is_any else pool_max
        if not has_all:
            queries = either(self._asked, self._owner)
            visited_max = max(ANY_MIN, visited_max // len(queries))
        visited = await self._visit(queries, start, visited_max + 1)
        passing = [place for place, match in enumerate(visited) if match.passes]
        end = min([visited_max, *(place + 1 for place in passing[pool_max - 1 : pool_max])])
        if not has_all:
            end = len(visited)
        matches = [match for match in visited[:end] if match.passes]
        scores = await self._scores(matches)
        ordered = await self._in_order(matches, scores)
        keys = ordered[shown : shown + self._limit]
        following = None
        if shown + self._limit < len(ordered):
            following = (has_all, *visited[0].place, shown + self._limit)
        elif has_all and end < len(visited):
            following = (True, *visited[end].place, 0)
        return Found(await self._tickets(keys, scores), "all" if has_all else "any", following)

    async def _visit(self, queries: Sequence[str], start: Place, size: int) -> list[Match]:
        passes = "SELECT true AS passes"
        if self._filter.is_any:
            passes = (
                "SELECT EXISTS (SELECT FROM read.board b WHERE b.ticket_id = f.ticket_id"
                f" AND {self._filter}) AS passes"
            )
        return await _TEXTS.newest(
            self._connection, queries, start, size, passes=passes, values=self._filter.values
        )

    async def _scores(self, matches: Sequence[Match]) -> dict[UUID, float]:
        if self._sort != "relevance":
            return {}
        return await _TEXTS.scores(self._connection, self._asked, [match.key for match in matches])

    async def _in_order(self, matches: Sequence[Match], scores: Mapping[UUID, float]) -> list[UUID]:
        keys = [match.key for match in matches]
        if self._sort == "priority":
            return [row[0] for row in await self._connection.fetch(_BY_RANK, keys)]
        return sorted(keys, key=lambda key: -scores.get(key, 0))

    async def _tickets(
        self, keys: Sequence[UUID], scores: Mapping[UUID, float]
    ) -> list[FoundTicket]:
        rows = await self._connection.fetch(
            f"SELECT {FIELDS} FROM read.board WHERE ticket_id = ANY($1::uuid[])", keys
        )
        known = {row["ticket_id"]: row for row in rows}
        return [self._shown(known[key], scores.get(key)) for key in keys if key in known]

    def _shown(self, row: Record, relevance: float | None) -> FoundTicket:
        marked = (
            highlight("title", row["title"], self._asked),
            highlight("description", row["description"], self._asked),
        )
        highlights = tuple(found for found in marked if found is not None)
        return FoundTicket(*row, relevance=relevance, highlights=highlights)
