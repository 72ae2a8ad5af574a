"""How long it takes to find tickets and articles by words that a large part of them have."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import cache
from typing import Any, Final

from bench.figures import Figure
from bench.history import START, article_id, ticket_id, title
from bench.tables import tables_of
from services.intake.projections import READ_MODEL as INTAKE
from services.intake.queries import TicketFilter, find_tickets
from services.knowledge.projections import READ_MODEL as KNOWLEDGE
from services.knowledge.queries import search
from shared.postgres.pool import Pool
from shared.search.documents import filed, worded
from shared.search.terms import asked

_BUDGET_MS: Final = 50
_READS: Final = 200
_TITLES: Final = 8_575
"""After so many, the made-up titles come again."""
_ARTICLE_EVERY: Final = 100
_OPEN_EVERY: Final = 20
_BOARD: Final = (
    *("ticket_id", "record_seq", "number", "kind", "requester_id", "channel", "occurred_at"),
    *("created_at", "details_seq", "title", "description", "progress_seq", "status"),
)
_ARTICLE: Final = (
    *("article_id", "origin_seq", "number", "author_id", "language", "drafted_at", "content_seq"),
    *("title", "body", "tags", "progress_seq", "status"),
)
_WORDING: Final = ("filing_seq", "filed_at", "week", "owner", "wording_seq", "words")
_Rows = Iterator[tuple[Any, ...]]


def of_search(tickets: int) -> list[Figure]:
    """Measure searches of so many tickets, and of a hundredth as many articles."""
    return asyncio.run(_measure(tickets))


@cache
def _words(number: int) -> str:
    return worded(title(number), _body(number)).words


def _body(number: int) -> str:
    return f"It says {title(number + 11)} since this morning."


def _wording(tickets: int, step: int, key: Callable[[int], object]) -> _Rows:
    for number in range(0, tickets, step):
        filing = filed(START + number * timedelta(minutes=0.5), f"user-{number % 9_973}")
        words = _words(number % _TITLES)
        yield (key(number), 1, filing.filed_at, filing.week, filing.owner, 1, words)


def _board(tickets: int) -> _Rows:
    for number in range(tickets):
        at = START + number * timedelta(minutes=0.5)
        status = "new" if number % _OPEN_EVERY == 0 else "closed"
        person = f"user-{number % 9_973}"
        known = ticket_id(number), 1, f"INC-{number:07d}", "incident", person, "portal", at, at
        yield (*known, 1, title(number % _TITLES), _body(number % _TITLES), 1, status)


def _articles(tickets: int) -> _Rows:
    for number in range(0, tickets, _ARTICLE_EVERY):
        at = START + number * timedelta(minutes=0.5)
        known = article_id(number), 1, f"KB-{number:06d}", "bo", "en", at
        yield (*known, 2, title(number % _TITLES), _body(number % _TITLES), [], 3, "published")


async def _measure(tickets: int) -> list[Figure]:
    async with AsyncExitStack() as stack:
        intake = await stack.enter_async_context(tables_of("intake", INTAKE))
        knowledge = await stack.enter_async_context(tables_of("knowledge", KNOWLEDGE))
        began = time.perf_counter()
        await _copy(intake, "board", _BOARD, _board(tickets))
        await _copy(intake, "wording", ("ticket_id", *_WORDING), _wording(tickets, 1, ticket_id))
        await _copy(knowledge, "article", _ARTICLE, _articles(tickets))
        texts = _wording(tickets, _ARTICLE_EVERY, article_id)
        await _copy(knowledge, "wording", ("article_id", *_WORDING), texts)
        took = time.perf_counter() - began
        for pool in (intake, knowledge):
            await pool.execute("VACUUM ANALYZE")
        size = await intake.fetchval("SELECT pg_total_relation_size('read.wording')")
        disk = f"filled in {took:.0f} s, {size / 2**20:,.0f} MB"
        figures = [Figure(f"{tickets:,} tickets: the index of tickets", "–", disk)]
        figures += [
            await _timed(f"{tickets:,} tickets: {name}", ask)
            for name, ask in _questions(intake, knowledge).items()
        ]
        return figures


async def _copy(pool: Pool, table: str, columns: tuple[str, ...], rows: _Rows) -> None:
    async with pool.acquire() as connection:
        await connection.copy_records_to_table(
            table, schema_name="read", columns=columns, records=rows
        )


def _questions(intake: Pool, knowledge: Pool) -> dict[str, Callable[[int], Awaitable[object]]]:
    def tickets(query: str, **more: Any) -> Awaitable[object]:  # noqa: ANN401 what is asked
        sort = more.pop("sort", "relevance")
        wanted = TicketFilter(**more)
        return find_tickets(intake, wanted, asked(query), sort=sort, limit=20, after=None)

    def articles(query: str) -> Awaitable[object]:
        return search(knowledge, asked(query), language=None, published_only=True, limit=10)

    def one(number: int) -> str:
        return title(number).split()[number % 4]

    return {
        "tickets by four words": lambda n: tickets(title(n)),
        "tickets by four words, the newest first": lambda n: tickets(title(n), sort="newest"),
        "tickets by one word": lambda n: tickets(one(n)),
        "open tickets by one word": lambda n: tickets(one(n), is_open=True),
        "tickets of one person by one word": lambda n: tickets(one(n), requester_id=f"user-{n}"),
        "tickets by four words and one that none has": lambda n: tickets(f"{title(n)} unheard"),
        "tickets by a word that none has": lambda n: tickets(f"unheard{n}"),
        "tickets by eight words that none has together": lambda _: tickets(
            "VPN printer mail laptop badge network login password screen"
        ),
        "articles by four words": lambda n: articles(title(n)),
        "articles by one word": lambda n: articles(one(n)),
    }


async def _timed(path: str, ask: Callable[[int], Awaitable[object]]) -> Figure:
    taken_ms: list[float] = []
    for number in range(_READS + 5):
        began = time.perf_counter()
        await ask(number * 7_919 % _TITLES)
        taken_ms.append((time.perf_counter() - began) * 1000)
    ordered = sorted(taken_ms[5:])
    median, worst = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    return Figure(
        path,
        f"p99 < {_BUDGET_MS} ms",
        f"median {median:.1f} ms, p99 {worst:.1f} ms",
        is_met=worst < _BUDGET_MS,
    )
