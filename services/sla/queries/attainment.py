"""How many promises were kept."""

from datetime import datetime

from services.sla.domain.attainment import Asked, Attainment
from services.sla.tables import (
    ALL_CYCLES,
    ATTAINMENT,
    CYCLES_WITHIN,
    DIMENSIONS,
    JUDGED,
    VERDICTS,
)
from shared.postgres.pool import Connection


async def read_attainment(connection: Connection, asked: Asked, at: datetime) -> list[Attainment]:
    """Return the verdicts as of `at`, by target, who judged, and the dimensions asked for."""
    columns = [DIMENSIONS[name] for name in asked.by]
    keys = "".join(f", {column} AS key_{place}" for place, column in enumerate(columns))
    groups = ", ".join(["v.target", "v.kind", "v.source_system", *columns])
    is_of_all_time = asked.start is None and asked.end is None
    verdicts = VERDICTS.format(cycles=ALL_CYCLES if is_of_all_time else CYCLES_WITHIN)
    rows = await connection.fetch(
        f"{verdicts} {ATTAINMENT} {keys} {JUDGED} GROUP BY {groups} ORDER BY {groups}",
        asked.start,
        asked.end,
        at,
        asked.zone,
        list(asked.targets),
        list(asked.priorities),
        list(asked.customers),
        list(asked.services),
    )
    return [
        Attainment(
            target=row["target"],
            kind=row["kind"],
            source_system=row["source_system"],
            key={name: row[f"key_{place}"] for place, name in enumerate(asked.by)},
            judged=row["met"] + row["missed"],
            met=row["met"],
            missed=row["missed"],
            share=row["met"] / (row["met"] + row["missed"]),
            late_seconds=row["late_seconds"],
        )
        for row in rows
    ]
