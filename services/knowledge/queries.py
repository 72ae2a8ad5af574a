"""What knowledge's read model answers."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from services.knowledge.tables import DOCUMENT
from shared.errors import NotFoundError
from shared.postgres.pool import Pool
from shared.terms import searchable, snippet

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
    """An article that was found, the best first; `snippet` shows where."""

    article_id: UUID
    number: str
    title: str
    language: str
    status: str
    score: float
    snippet: str


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


async def search(
    pool: Pool, query: str, *, language: str | None, published_only: bool, limit: int
) -> list[Hit]:
    """Return articles that have any of the words, those with more and rarer ones first."""
    rows = await pool.fetch(
        f"""
        WITH wanted AS (
            SELECT replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery AS words
        )
        SELECT article_id, number, title, language, status,
               ts_rank({DOCUMENT}, words, 1) AS score, body
        FROM read.article, wanted
        WHERE {DOCUMENT} @@ words AND ($2::text IS NULL OR language = $2)
          AND (NOT $3 OR status = 'published')
        ORDER BY score DESC, article_id LIMIT $4
        """,
        searchable(query),
        language,
        published_only,
        limit,
    )
    return [
        Hit(
            row["article_id"],
            row["number"],
            row["title"],
            row["language"],
            row["status"],
            row["score"],
            snippet(row["body"], query),
        )
        for row in rows
    ]


async def article_sequence(pool: Pool, article_id: UUID) -> int:
    """Return up to which event the read model knows the article."""
    known = await pool.fetchval(
        "SELECT activity_seq FROM read.article WHERE article_id = $1", article_id
    )
    return known or 0
