"""Read models: tables of facets (R3), folded the same way live and in a rebuild.

A facet is a frozen struct: a group of columns that one writer always sets together. Its table
guards it with a column `<facet>_seq`; the higher sequence wins, so arrival order cannot matter. A
fact is a facet whose table has the sequence in its key: it is set once.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from operator import attrgetter, itemgetter
from types import UnionType
from typing import Any, Final, Protocol, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from shared.contracts.registry import (
    Recorded,
    UndecodableError,
    decode_shared,
    history_order,
)
from shared.postgres.pool import Connection, Pool
from shared.runtime.weather import cause_of

_SQL_TYPES: Final[dict[type, str]] = {
    str: "text",
    int: "bigint",
    float: "double precision",
    bool: "boolean",
    datetime: "timestamptz",
    UUID: "uuid",
    bytes: "bytea",
}


class Facet(msgspec.Struct, frozen=True, gc=False):
    """What a projection yields: columns that one event sets together. Structs, for their speed."""


class Project(Protocol):
    """Yields the facets that an event sets. Pure: the event is all it may look at.

    Called once for each event live, and again in every rebuild, in any order; must not block or
    await. Must take every event that decodes: one on which it raises is parked, live and in a
    rebuild alike, and nobody reacts to it until it is redriven.
    """

    def __call__(self, event: Recorded, /) -> Iterable[Any]:
        """Yield the facets."""
        ...


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a read table: its name and its SQL type."""

    name: str
    sql_type: str


@dataclass(frozen=True, slots=True, eq=False)
class FacetShape:
    """A facet as columns; `guard` is the column that holds the sequence of its last event.

    `values` reads the columns of an instance.
    """

    type: type[Facet]
    guard: str
    columns: tuple[Column, ...]
    values: Callable[[Any], tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class Table:
    """A table of facets, one row per key.

    The first key column holds the stream id. Further key columns, if any, are fields of every
    facet of the table. All other columns may be null: an event for an unknown stream makes a row.
    An index is a list of columns, with `WHERE condition` behind it for a partial one; or, for
    another kind than a B-tree, `USING kind (expression)`. `generated` are columns beside those of
    the facets, each with its type and the expression that PostgreSQL keeps it by.
    """

    name: str
    key: Mapping[str, type]
    facets: tuple[type[Facet], ...]
    indexes: tuple[str, ...] = ()
    generated: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        """The key, in order."""
        return tuple(Column(name, _SQL_TYPES[kind]) for name, kind in self.key.items())

    @cached_property
    def sub_key(self) -> tuple[str, ...]:
        """The key columns after the stream id; each is a field of every facet."""
        return tuple(self.key)[1:]

    @cached_property
    def shapes(self) -> tuple[FacetShape, ...]:
        """The facets, in the order of the table's columns."""
        return tuple(_shape(facet, self.sub_key) for facet in self.facets)

    @property
    def is_of_facts(self) -> bool:
        """Whether each row is set by one event, once."""
        return "sequence" in self.key

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All columns in order: key, then each facet's guard and values."""
        columns = list(self.key_columns)
        for shape in self.shapes:
            columns += [Column(shape.guard, "integer"), *shape.columns]
        return tuple(columns)

    def create_sql(self, schema: str) -> str:
        """Return the statement that makes the table in `schema`, bare, to be filled quickly."""
        columns = [
            f"{column.name} {column.sql_type}{' NOT NULL' if column.name in self.key else ''}"
            for column in self.columns
        ]
        columns += [
            f"{name} {sql_type} GENERATED ALWAYS AS ({expression}) STORED"
            for name, (sql_type, expression) in self.generated.items()
        ]
        return f"CREATE TABLE {schema}.{self.name} ({', '.join(columns)})"

    def index_sql(self, schema: str) -> list[str]:
        """Return the statements that give the table its key and its indexes."""
        statements = [f"ALTER TABLE {schema}.{self.name} ADD PRIMARY KEY ({', '.join(self.key)})"]
        for index in self.indexes:
            columns, where, condition = index.partition(" WHERE ")
            method = columns if columns.startswith("USING ") else f"({columns})"
            statements.append(f"CREATE INDEX ON {schema}.{self.name} {method}{where}{condition}")
        return statements

    @cache  # noqa: B019 tables live as long as the program
    def upsert(self, schema: str, shapes: tuple[FacetShape, ...]) -> "Upsert":
        """Return how to write these facets of the table over the rows in `schema`."""
        return Upsert(self, schema, shapes)


@dataclass(frozen=True, eq=False)
class Upsert:
    """A guarded multi-row write of some facets of a table; columns of the others stay as they are.

    Naming only the facets that a batch has is what makes it quick: most events set one or two.
    """

    table: Table
    schema: str
    shapes: tuple[FacetShape, ...]

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns written, in the order of a fold's rows."""
        columns = list(self.table.key_columns)
        for shape in self.shapes:
            columns += [Column(shape.guard, "integer"), *shape.columns]
        return tuple(columns)

    def arguments(self, rows: Iterable[list[Any]]) -> list[list[Any]]:
        """Return rows as the parameters of `sql`: one array per column."""
        arguments = [list(values) for values in zip(*rows, strict=True)]
        for place, column in enumerate(self.columns):
            if column.sql_type == "jsonb":
                arguments[place] = [_json_text(value) for value in arguments[place]]
        return arguments

    @cached_property
    def sql(self) -> str:
        """The statement; one array parameter per column, JSON as text.

        A fact that is there already stays as it is, down to the transaction that wrote it: by that
        a reaction tells what it knew before its batch.
        An array of jsonb would not do: a list in it would be taken for a further dimension.
        """
        types = ["text" if c.sql_type == "jsonb" else c.sql_type for c in self.columns]
        arrays = ", ".join(f"${n}::{sql_type}[]" for n, sql_type in enumerate(types, 1))
        names = ", ".join(column.name for column in self.columns)
        casts = ", ".join(f"{column.name}::{column.sql_type}" for column in self.columns)
        table, key = self.table.name, ", ".join(self.table.key)
        change = f"UPDATE SET {', '.join(self._assignments())}"
        return (
            f"INSERT INTO {self.schema}.{table} AS old ({names})"  # noqa: S608 names are ours
            f" SELECT {casts} FROM unnest({arrays}) AS new({names}) "
            f"ON CONFLICT ({key}) DO {'NOTHING' if self.table.is_of_facts else change}"
        )

    def _assignments(self) -> Iterator[str]:
        for shape in self.shapes:
            newer = f"EXCLUDED.{shape.guard} > coalesce(old.{shape.guard}, 0)"
            for column in shape.columns:
                name = column.name
                yield f"{name} = CASE WHEN {newer} THEN EXCLUDED.{name} ELSE old.{name} END"
            yield f"{shape.guard} = greatest(old.{shape.guard}, EXCLUDED.{shape.guard})"


def _shape(facet: type[Facet], sub_key: tuple[str, ...]) -> FacetShape:
    hints = get_type_hints(facet)
    columns = tuple(
        Column(name, _sql_type(hints[name]))
        for name in facet.__struct_fields__
        if name not in sub_key
    )
    return FacetShape(facet, f"{_snake(facet.__name__)}_seq", columns, _reader(columns))


def _json_text(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _reader(columns: tuple[Column, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads a facet's columns in one call."""
    if len(columns) == 1:
        read_one = attrgetter(columns[0].name)
        return lambda facet: (read_one(facet),)
    return attrgetter(*(column.name for column in columns))


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _sql_type(hint: Any) -> str:  # noqa: ANN401 any type hint
    if get_origin(hint) is UnionType:
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) in {tuple, list, dict}:
        return "jsonb"
    return _SQL_TYPES[hint]


class History(Facet, frozen=True):
    """One event of a stream, whole, for rules that need several writers' facts (R4)."""

    writer: str
    sequence: int
    type: str
    time: datetime
    value: bytes

    @classmethod
    def of(cls, event: Recorded) -> "History":
        """Return the fact that `event` is."""
        return cls(event.writer, event.sequence, event.type, event.time, event.value)


HISTORY: Final = Table("history", {"stream_id": str, "writer": str, "sequence": int}, (History,))


HISTORIES: Final = """
SELECT stream_id, type, value FROM read.history
WHERE stream_id = ANY($1::text[])
"""


async def read_histories(
    connection: Connection, stream_ids: Collection[str]
) -> dict[str, list[Recorded]]:
    """Return the known facts of each stream, in the order of R4."""
    histories: dict[str, list[Recorded]] = {stream_id: [] for stream_id in stream_ids}
    rows = await connection.fetch(HISTORIES, list(histories))
    for stream_id, event_type, value in rows:
        histories[stream_id].append(decode_shared(event_type, value))
    return {stream_id: history_order(facts) for stream_id, facts in histories.items()}


async def shown(pool: Pool, table: Table, stream_id: str) -> int:
    """Return up to which sequence the live table knows a stream; 0 if it does not know it."""
    guards = ", ".join(f"max({shape.guard})" for shape in table.shapes)
    key = table.key_columns[0].name
    sql = f"SELECT greatest({guards}) FROM read.{table.name} WHERE {key} = $1"  # noqa: S608 names are ours
    return await pool.fetchval(sql, stream_id) or 0


@dataclass(frozen=True)
class ReadModel:
    """What a service folds out of the log: tables, the projection that fills them, views on them.

    `views` are `CREATE VIEW` statements without a schema: they are made where the tables are.
    `version` is raised whenever `project` makes anything else of any event; a test holds us to it.
    `topics` are those of the events that it makes anything of, None if that may be any.
    """

    tables: tuple[Table, ...]
    project: Project
    views: tuple[str, ...] = ()
    version: int = 1
    topics: frozenset[str] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Version and shape in short; two that differ cannot work in the same tables (R13)."""
        statements = [str(self.version), *self.views]
        for table in self.tables:
            statements += [table.create_sql("read"), *table.index_sql("read")]
        digest = hashlib.sha256("\n".join(statements).encode()).hexdigest()
        return f"{self.version}-{digest[:40]}"

    def folds(self, topic: str) -> bool:
        """Say whether events of the topic may set anything."""
        return self.topics is None or topic in self.topics


class Fold:
    """Folds events into rows in memory, `size` of them: a batch live, a chunk in a rebuild."""

    def __init__(self, model: ReadModel) -> None:
        self.size = 0
        self._topics = model.topics
        self._project = model.project
        self._rows: dict[str, dict[Any, list[Any]]] = {table.name: {} for table in model.tables}
        self._places = {
            shape.type: (self._rows[table.name], table.sub_key, 2 * place, 2 * len(table.shapes))
            for table in model.tables
            for place, shape in enumerate(table.shapes)
        }

    def add(self, event: Recorded) -> None:
        """Set every facet that the event yields, unless a later event already did; all or none.

        Raises: UndecodableError where the projection fails, so that the verdict is one and the
        same live and in a rebuild.
        """
        if self._topics is not None and event.data.TYPE not in self._topics:
            return
        stream_id, sequence = event.stream_id, event.sequence
        try:
            facets = [(self._places[type(facet)], facet) for facet in self._project(event)]
        except Exception as error:
            raise UndecodableError("projection", cause_of(error)) from error
        for (rows, sub_key, place, width), facet in facets:
            key = (stream_id, *[getattr(facet, name) for name in sub_key]) if sub_key else stream_id
            row = rows.get(key)
            if row is None:
                row = rows[key] = [None] * width
                self.size += 1
            if row[place] is None or row[place] < sequence:
                row[place] = sequence
                row[place + 1] = facet

    def shapes(self, table: Table) -> tuple[FacetShape, ...]:
        """Return the facets of the table that any event has set."""
        rows = self._rows[table.name].values()
        return tuple(
            shape
            for place, shape in enumerate(table.shapes)
            if any(row[2 * place] is not None for row in rows)
        )

    def rows(
        self, table: Table, shapes: tuple[FacetShape, ...] | None = None
    ) -> Iterator[list[Any]]:
        """Yield the table's rows, in no order that means anything; of these facets, or of all.

        A stream id is text here, also where the column is a UUID.
        """
        wanted = [
            (2 * place, shape.values, (None,) * (1 + len(shape.columns)))
            for place, shape in enumerate(table.shapes)
            if shapes is None or shape in shapes
        ]
        for key, row in self._rows[table.name].items():
            values = list(key) if table.sub_key else [key]
            for place, read, absent in wanted:
                sequence = row[place]
                if sequence is None:
                    values += absent
                else:
                    values.append(sequence)
                    values += read(row[place + 1])
            yield values


async def write(connection: Connection, model: ReadModel, fold: Fold, schema: str) -> None:
    """Write what was folded over the rows in `schema`: one guarded statement per table.

    Rows go in the order of their keys, so that two replicas cannot wait for each other.
    """
    for table in model.tables:
        if shapes := fold.shapes(table):
            upsert = table.upsert(schema, shapes)
            rows = sorted(fold.rows(table, shapes), key=itemgetter(0))
            await connection.execute(upsert.sql, *upsert.arguments(rows))
