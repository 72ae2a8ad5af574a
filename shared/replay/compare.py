"""Comparing a live table with its rebuild: digests that need no order, and the first difference."""

from dataclasses import dataclass

import msgspec

from shared.errors import UnavailableError
from shared.postgres.pool import Connection
from shared.replay import schema
from shared.runtime.read_model import Table


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a table and its rebuild differ; `event` is the guard's sequence."""

    key: str
    column: str
    live: str | None
    rebuilt: str | None
    event: str


@dataclass(frozen=True, slots=True)
class TableComparison:
    """One read table against its rebuild."""

    table: str
    rows: int
    live_digest: str
    rebuilt_digest: str
    difference: Difference | None

    @property
    def agrees(self) -> bool:
        """Whether both are the same, row for row."""
        return self.difference is None and self.live_digest == self.rebuilt_digest


def digest_sql(name: str, columns: list[str]) -> str:
    """Return the query for a table's row count and its digest, whatever the order of rows.

    Both halves of each row's MD5 are summed up, so that it takes no more memory for more rows.
    """
    return (
        "SELECT count(*) AS rows, md5(concat_ws(' ', count(*), sum(high), sum(low))) AS digest"  # noqa: S608 names are ours
        " FROM (SELECT ('x' || left(hash, 16))::bit(64)::bigint AS high,"
        " ('x' || right(hash, 16))::bit(64)::bigint AS low"
        f" FROM (SELECT md5(ROW({', '.join(columns)})::text) AS hash FROM {name} OFFSET 0) hashed"
        ") halved"
    )


async def compare(connection: Connection, table: Table, rebuilt_in: str) -> TableComparison:
    """Compare the live table with the one in another schema, as the current snapshot sees both."""
    columns = [column.name for column in table.columns]
    live = await connection.fetchrow(digest_sql(f"{schema.LIVE}.{table.name}", columns))
    rebuilt = await connection.fetchrow(digest_sql(f"{rebuilt_in}.{table.name}", columns))
    if live is None or rebuilt is None:
        raise UnavailableError(f"no digest of {table.name}")
    difference = None
    if live["digest"] != rebuilt["digest"]:
        difference = await _first_difference(connection, table, rebuilt_in)
    return TableComparison(table.name, live["rows"], live["digest"], rebuilt["digest"], difference)


async def _first_difference(
    connection: Connection, table: Table, rebuilt_in: str
) -> Difference | None:
    keys = ", ".join(table.key)
    row = await connection.fetchrow(
        f"SELECT to_jsonb(l) AS live, to_jsonb(r) AS rebuilt"  # noqa: S608 names are ours
        f" FROM {schema.LIVE}.{table.name} l"
        f" FULL JOIN {rebuilt_in}.{table.name} r USING ({keys})"
        f" WHERE l IS DISTINCT FROM r ORDER BY {keys} LIMIT 1"
    )
    if row is None:
        return None
    live: dict[str, object] = row["live"] or {}
    rebuilt: dict[str, object] = row["rebuilt"] or {}
    guard = ""
    for column in table.columns:
        name = column.name
        if name.endswith("_seq"):
            guard = name
        if live.get(name) != rebuilt.get(name):
            known = live or rebuilt
            return Difference(
                key=", ".join(str(known[key]) for key in table.key),
                column=name,
                live=_shown(live.get(name)),
                rebuilt=_shown(rebuilt.get(name)),
                event=f"{guard} live {live.get(guard)}, rebuilt {rebuilt.get(guard)}",
            )
    return None


def _shown(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
