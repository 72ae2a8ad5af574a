"""What knowledge's read model answers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypedDict
from uuid import UUID

import msgspec
from asyncpg import Record

from shared.errors import NotFoundError
from shared.postgres.pool import Connection, Pool
from shared.search.finding import ANY_MIN, NEWEST, POOL_MAX, VISITED_MAX, Texts, either, every
from shared.search.highlights import Highlight, highlight, snippet
from shared.search.terms import SearchTerms

_FIELDS: Final = """
    article_id, activity_seq, number, status, language, title, body, tags, author_id, drafted_at,
    updated_at
"""


class ArticleView(msgspec.Struct, frozen=True):
    """One article."""

    article_id: UUID
    sequence: int
    number: str
    status: str
    language: str
    title: str
    text: str
    tags: list[str]
    author_id: str
    drafted_at: datetime
    updated_at: datetime


class Hit(msgspec.Struct, frozen=True):
    """An article that was found, the best first; `snippet` and `highlights` show where."""

    article_id: UUID
    number: str
    title: str
    language: str
    status: str
    score: float
    snippet: str
    highlights: list[Highlight]


class ArticleList(TypedDict):
    """A page of articles."""

    articles: list[ArticleView]


class Hits(TypedDict):
    """What was found, the best first."""

    hits: list[Hit]


class ArticleFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which articles a list shows; a null condition lets all through."""

    status: str | None = None
    language: str | None = None
    tag: str | None = None


async def read_article(pool: Pool, article_id: UUID, *, published_only: bool) -> ArticleView:
    """Return one article. Raises: NotFoundError where the caller may see none."""
    row = await pool.fetchrow(
        f"SELECT {_FIELDS} FROM read.article WHERE article_id = $1 AND origin_seq IS NOT NULL"
        " AND (NOT $2 OR status = 'published')",
        article_id,
        published_only,
    )
    if row is None:
        raise NotFoundError(f"no article {article_id}")
    return ArticleView(*row)


async def list_articles(
    pool: Pool, wanted: ArticleFilter, *, limit: int, after: tuple[datetime, UUID] | None
) -> list[ArticleView]:
    """Return articles, the newest first, from behind the one drafted at `after` on."""
    rows = await pool.fetch(
        f"""
        SELECT {_FIELDS} FROM read.article
        WHERE origin_seq IS NOT NULL AND ($1::text IS NULL OR status = $1)
          AND ($2::text IS NULL OR language = $2) AND ($3::text IS NULL OR tags ? $3)
          AND ($4::timestamptz IS NULL OR (drafted_at, article_id) < ($4, $5))
        ORDER BY drafted_at DESC, article_id DESC LIMIT $6
        """,
        wanted.status,
        wanted.language,
        wanted.tag,
        *(after or (None, None)),
        limit,
    )
    return [ArticleView(*row) for row in rows]


_TEXTS: Final = Texts("article_id")
_DEPTH_MAX: Final = 10 * VISITED_MAX
"""So many that have the words are asked in all whether they pass; most desks have fewer articles.
"""
_FITS: Final = """
SELECT EXISTS (
    SELECT FROM read.article a WHERE a.article_id = f.article_id AND origin_seq IS NOT NULL
        AND ($6::text IS NULL OR language = $6) AND (NOT $7 OR status = 'published')
) AS passes
"""
_SHOWN: Final = """
SELECT article_id, number, title, language, status, body FROM read.article
WHERE article_id = ANY($1::uuid[])
"""


async def search(
    pool: Pool, asked: SearchTerms, *, language: str | None, published_only: bool, limit: int
) -> list[Hit]:
    """Return articles that have any of the words, those with more and rarer ones first.

    Compared are the newest that have all words, and the newest that have each of them; of those
    the asker may see, however many drafts are newer.
    """
    fits: dict[str, Any] = {"passes": _FITS, "values": (language, published_only)}
    size = max(ANY_MIN, POOL_MAX // len(asked.any))
    depth = _DEPTH_MAX // (len(asked.any) + 1)
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        keys = await _passing(connection, every(asked), POOL_MAX, depth, fits)
        for query in either(asked):
            keys |= await _passing(connection, query, size, depth, fits)
        scores = await _TEXTS.scores(connection, asked, list(keys))
        best = sorted(keys, key=lambda key: -scores.get(key, 0))[:limit]
        rows = {row[0]: row for row in await connection.fetch(_SHOWN, best)}
    return [_hit(rows[key], scores.get(key, 0), asked) for key in best]


async def _passing(
    connection: Connection, query: str, count: int, depth: int, fits: Mapping[str, Any]
) -> dict[UUID, None]:
    """Return the newest that pass, `count` at most, of about `depth` that are visited."""
    keys: dict[UUID, None] = {}
    start, size, left = NEWEST, count, depth
    while left > 0:
        visited = await _TEXTS.newest(connection, [query], start, size, **fits)
        keys |= dict.fromkeys(match.key for match in visited if match.passes)
        if len(keys) >= count or len(visited) < size:
            break
        start, size, left = visited[-1].place, VISITED_MAX, left - size
    return dict.fromkeys(list(keys)[:count])


def _hit(row: Record, score: float, asked: SearchTerms) -> Hit:
    body: str = row["body"]
    marked = highlight("title", row["title"], asked), highlight("text", body, asked)
    return Hit(
        row["article_id"],
        row["number"],
        row["title"],
        row["language"],
        row["status"],
        score,
        snippet(body, asked),
        [m for m in marked if m is not None],
    )


async def article_sequence(pool: Pool, article_id: UUID) -> int:
    """Return up to which event the read model knows the article."""
    known = await pool.fetchval(
        "SELECT activity_seq FROM read.article WHERE article_id = $1", article_id
    )
    return known or 0
