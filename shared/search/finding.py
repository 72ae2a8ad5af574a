"""Finding texts: a bounded number of the newest that have what is asked for, the best first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log
from typing import Final
from uuid import UUID

import msgspec

from shared.postgres.pool import Connection
from shared.search.documents import WEEK, owner_term, term, week_of
from shared.search.terms import SearchTerms

POOL_MAX: Final = 200
"""So many texts are compared with each other; those behind them are older."""
VISITED_MAX: Final = 1_000
"""So many texts that have the words are asked whether they pass the filter."""
ANY_MIN: Final = 20
"""So many, at the least, that have one of the words that may do."""
_WEIGHTS: Final = "{{0.3,0.3,0.5,1}}"
_LITERAL_WEIGHT: Final = 0.2
_LENGTH_WEIGHT: Final = 0.25
_NEWEST: Final = """
WITH RECURSIVE weeks(week) AS (
    SELECT max(week) FROM read.wording WHERE week <= $2
    UNION ALL
    SELECT (SELECT max(w.week) FROM read.wording w WHERE w.week < weeks.week)
    FROM weeks WHERE weeks.week IS NOT NULL
)
SELECT DISTINCT ON (f.filed_at, f.{key}) f.{key}, f.filed_at, p.passes
FROM unnest($1::text[]) WITH ORDINALITY q(query, place), LATERAL (
    SELECT n.* FROM weeks, LATERAL (
        SELECT w.{key}, w.filed_at FROM read.wording w
        WHERE w.document @@ replace(q.query, '{week_sign}', weeks.week || '{week_sign}')::tsquery
            AND (w.filed_at, w.{key}) <= ($3, $4)
        ORDER BY w.filed_at DESC, w.{key} DESC LIMIT $5
    ) n LIMIT $5
) f, LATERAL ({passes} OFFSET 0) p
ORDER BY f.filed_at DESC, f.{key} DESC
"""
_RANKS: Final = f"""
SELECT w.{{key}}, length(w.document), ARRAY(
    SELECT ts_rank('{_WEIGHTS}', w.document, replace(t.term, '{WEEK}', w.week || '{WEEK}')::tsquery)
    FROM unnest($2::text[]) WITH ORDINALITY t(term, place) ORDER BY place
)
FROM read.wording w WHERE w.{{key}} = ANY($1::uuid[])
"""  # noqa: S608 text of ours
_RANK_MAX: Final = 1.64493406685
Place = tuple[datetime, UUID]
NEWEST: Final[Place] = datetime.max.replace(tzinfo=UTC), UUID(int=(1 << 128) - 1)
"""Before all that is there."""


class Match(msgspec.Struct, frozen=True):
    """A text that has the words: what it is of, when it was filed, whether it passes the filter."""

    key: UUID
    filed_at: datetime
    passes: bool

    @property
    def place(self) -> Place:
        """Where it stands among all, the newest first."""
        return self.filed_at, self.key


@dataclass(frozen=True, slots=True)
class Texts:
    """A service's texts; `key` is the id of what they are of.

    `passes` is SQL that asks whether `f.<key>` passes a filter; its values are $6 and on.
    """

    key: str

    async def newest(
        self,
        connection: Connection,
        queries: Sequence[str],
        start: Place,
        size: int,
        *,
        passes: str = "SELECT true AS passes",
        values: Sequence[object] = (),
    ) -> list[Match]:
        """Return the newest texts that fit a query, from a place on, so many for each query."""
        sql = _NEWEST.format(key=self.key, week_sign=WEEK, passes=passes)
        at, key = start
        rows = await connection.fetch(sql, list(queries), week_of(at), at, key, size, *values)
        return [Match(*row) for row in rows]

    async def scores(
        self, connection: Connection, asked: SearchTerms, keys: Sequence[UUID]
    ) -> dict[UUID, float]:
        """Return how well each of some texts fits, compared with the others.

        A term counts for more the fewer of them have it, in a title, and in the form that was
        asked for; a long text counts for a little less.
        """
        wanted = list(dict.fromkeys((*asked.all, *asked.any)))
        sought = [*map(term, wanted), *map(term, asked.literal)]
        rows = await connection.fetch(_RANKS.format(key=self.key), list(keys), sought)
        if not rows:
            return {}
        mean = sum(row[1] for row in rows) / len(rows) or 1
        weights = [
            log(1 + (len(rows) + 0.5) / (0.5 + sum(row[2][place] > 0 for row in rows)))
            * (1 if place < len(wanted) else _LITERAL_WEIGHT)
            for place in range(len(sought))
        ]
        return {
            row[0]: _RANK_MAX
            * sum(rank * weight for rank, weight in zip(row[2], weights, strict=True))
            / (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * row[1] / mean)
            for row in rows
        }


def every(asked: SearchTerms, owner: str | None = None) -> str:
    """Return the query for texts that have all that is asked for; those of an owner, if named."""
    own = [] if owner is None else [owner_term(owner)]
    return " & ".join([*own, *map(term, asked.all)])


def either(asked: SearchTerms, owner: str | None = None) -> list[str]:
    """Return a query for each thing of which one will do."""
    own = "" if owner is None else f"{owner_term(owner)} & "
    return [f"{own}{term(text)}" for text in asked.any]
