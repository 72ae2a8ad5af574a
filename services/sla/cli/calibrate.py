"""`desk sla calibrate`: how good the desk's probabilities of a breach would have been."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from services.sla.cli.past import chunks, heritage, read_rules
from services.sla.domain.clocks.facts import Peaks
from services.sla.domain.clocks.history import Fact
from services.sla.domain.clocks.inheritance import with_heritage
from services.sla.domain.outlook.survival import (
    Calibration,
    Curves,
    calibration,
    lifetimes,
    predictions,
)
from services.sla.domain.outlook.whatif import facts_of_rows
from services.sla.domain.rules.publishing import RulesWanted
from shared.calendar import microseconds
from shared.errors import InvalidInputError
from shared.postgres.pool import open_reader

LEARNT_SHARE: Final = 0.7
_SPLIT: Final = """
SELECT percentile_disc($1::float8) WITHIN GROUP (ORDER BY created_at) FROM read.ticket
"""


async def calibrate(dsn: str, rules: RulesWanted, at: datetime) -> Calibration:
    """Learn from the older tickets as they were known then, and test on those created since.

    Both are judged by the newest published rules with `rules` in their place.
    Raises: InvalidInputError if the rules make no sense, or if there is no past.
    """
    connection = await open_reader(dsn, name="calibrate")
    try:
        wanted = await read_rules(connection, rules, at)
        split: datetime | None = await connection.fetchval(_SPLIT, LEARNT_SHARE)
        if split is None:
            raise InvalidInputError("this desk has no tickets to learn from")
        book, peaks = wanted
        taken = await heritage(connection, wanted)
        at_us, split_us = microseconds(at), microseconds(split)
        past = [
            life
            async for facts in _tickets(connection, peaks, taken)
            if facts[0].time_us < split_us
            for life in lifetimes(facts, book, split_us)
        ]
        curves = Curves(past)
        tested = 0
        made: list[tuple[float, bool]] = []
        async for facts in _tickets(connection, peaks, taken):
            if facts[0].time_us >= split_us:
                tested += 1
                made.extend(predictions(facts, book, curves, at_us))
    finally:
        await connection.close()
    return calibration(made, learnt_from=len(past), tested_on=tested)


async def _tickets(
    connection: Any,  # noqa: ANN401 asyncpg's
    peaks: Peaks,
    taken: Mapping[str, Sequence[Fact]],
) -> AsyncIterator[list[Fact]]:
    async for tickets in chunks(connection):
        for ticket_id, rows in tickets:
            facts = with_heritage(facts_of_rows(rows, peaks), taken.get(ticket_id, ()))
            if facts:
                yield facts
