"""Statements that make one row of a table out of several that were folded apart.

Of each facet the highest sequence wins, as everywhere; of two with the same one that which was
there first, which is where the row lies.
"""

from collections.abc import Sequence

from shared.runtime.read_model import FacetShape, Table


def parts_of(table: Table) -> str:
    """Return the name of the table that holds rows folded apart."""
    return f"{table.name}_parts"


def merge_sql(table: Table, schema: str) -> str:
    """Return the statement that adds the merged rows of the parts to the table."""
    key = ", ".join(table.key)
    parts = f"{schema}.{parts_of(table)}"
    joins = [
        f"LEFT JOIN ({_newest(shape, table, parts)}) f{number} USING ({key})"
        for number, shape in enumerate(table.shapes)
    ]
    columns = ", ".join(column.name for column in table.columns)
    return (
        f"INSERT INTO {schema}.{table.name} ({columns}) SELECT {columns}"  # noqa: S608 names are ours
        f" FROM (SELECT DISTINCT {key} FROM {parts}) streams {' '.join(joins)}"
    )


def only_newest_sql(table: Table, schema: str) -> str:
    """Return the statement that leaves one row of each key in a table of one facet."""
    key, guard = ", ".join(table.key), table.shapes[0].guard
    name = f"{schema}.{table.name}"
    return (
        f"DELETE FROM {name} t USING (SELECT ctid AS place, row_number() OVER"  # noqa: S608 names are ours
        f" (PARTITION BY {key} ORDER BY {guard} DESC, ctid) AS number FROM {name}) ranked"
        " WHERE t.ctid = ranked.place AND ranked.number > 1"
    )


def _newest(shape: FacetShape, table: Table, parts: str) -> str:
    key = ", ".join(table.key)
    names: Sequence[str] = [shape.guard, *(column.name for column in shape.columns)]
    return (
        f"SELECT DISTINCT ON ({key}) {key}, {', '.join(names)} FROM {parts}"  # noqa: S608 names are ours
        f" WHERE {shape.guard} IS NOT NULL ORDER BY {key}, {shape.guard} DESC, ctid"
    )
