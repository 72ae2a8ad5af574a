"""What belongs to whom at the doors: numbers of imported tickets, sources of systems."""

from typing import Final

import msgspec

from shared.postgres.pool import Pool

NUMBERS_AHEAD_MAX: Final = 10**9
"""What one import may pass over, so that numbers do not leave their form."""
LAST_NUMBER: Final = "SELECT last_value FROM kernel.number"
KEEP_RANGE: Final = "INSERT INTO desk.passed_over (first, last) VALUES ($1, $2)"
IN_RANGES: Final = """
SELECT number FROM unnest($1::bigint[]) number WHERE number >= (
    SELECT first FROM desk.passed_over WHERE last >= number ORDER BY last LIMIT 1
)
"""
TAKE_NUMBER: Final = """
INSERT INTO desk.taken_number (number, ticket_id) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""
HOLDERS: Final = """
SELECT t.number, coalesce((
    SELECT b.ticket_id::text FROM read.board b
    WHERE b.number = t.number AND b.ticket_id::text <> t.ticket_id LIMIT 1
), t.ticket_id) FROM desk.taken_number t WHERE t.number = ANY($1::text[])
"""
"""Who has a number; a ticket on the board that came before numbers were noted has it first."""

BEGINNINGS: Final = """
SELECT stream_id, value FROM kernel.journal WHERE stream_id = ANY($1::text[]) AND sequence = 1
"""

SOURCES_MAX: Final = 1_000
OWNERS: Final = "SELECT source, subject FROM desk.source WHERE source = ANY($1::text[])"
COUNT_SOURCES: Final = "SELECT count(*) FROM desk.source WHERE subject = $1"
CLAIM_SOURCE: Final = """
INSERT INTO desk.source (source, subject) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""
GIVE_SOURCE: Final = """
INSERT INTO desk.source (source, subject) VALUES ($1, $2)
ON CONFLICT (source) DO UPDATE SET subject = EXCLUDED.subject
"""


class SourceView(msgspec.Struct, frozen=True):
    """A CloudEvents source, and the subject that may report as it over HTTP; empty for nobody."""

    source: str
    subject: str


async def list_sources(pool: Pool, *, limit: int, after: str) -> list[SourceView]:
    """Return sources by name, behind one of them."""
    rows = await pool.fetch(
        "SELECT source, subject FROM desk.source WHERE source > $1 ORDER BY source LIMIT $2",
        *(after, limit),
    )
    return [SourceView(*row) for row in rows]
