"""Statements for the two writes that every request ends in, made for speed.

The ORM takes ten times as long to compile an UPDATE as the database takes to run it, and it hands PostgreSQL the rows
of an INSERT as arrays, whose texts psycopg escapes in Python. Here one statement takes many rows, too: each wait for
the database lets other threads run, and while those send, it may be milliseconds until this one's turn comes again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression
from django.db.models.sql import UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

Row = Mapping[str, Any]
T = TypeVar("T")

#: What an UPDATE of many rows calls the table of their values.
GIVEN = "given"


def joins_values(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether an UPDATE of this database can take its values from a table that is written out in it."""
    if connection.vendor == "sqlite":
        version: tuple[int, ...] = connection.Database.sqlite_version_info  # type: ignore[attr-defined]
        return version >= (3, 33)
    return connection.vendor == "postgresql"


def _column(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field)  # noqa: S101 - only columns are named in statements
    return field


class Parameter(Expression):
    """Stands in a statement for a value of the column ``name``, given when the statement runs.

    No ``Value``: a JSONField would take that apart.
    """

    def __init__(self, model: type[models.Model], name: str) -> None:
        super().__init__(output_field=_column(model, name))
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        if not joins_values(connection):
            return "%s", (self,)
        return f"{GIVEN}.{connection.ops.quote_name(self.name)}", ()

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        sql, parts = self.as_sql(compiler, connection)
        # A column of nothing but NULL is text. Text itself is not cast: that would silently cut it to its length.
        if isinstance(self.output_field, models.CharField | models.TextField):
            return sql, parts
        return f"{sql}::{self.output_field.cast_db_type(connection)}", parts


class _Compiled(NamedTuple):
    sql: str
    #: What stands for each ``%s``: values, and Parameters where a statement is for one row.
    parts: Sequence[Any]
    #: What follows the rows where a statement is for many: the rest of the SQL.
    end: str = ""


class PreparedUpdate:
    """An UPDATE of rows that are found by columns whose values differ from row to row.

    ``guard`` names the columns of the condition. ``columns`` makes the assignments, as ``QuerySet.update`` takes them,
    with ``Parameter`` for what differs.
    """

    def __init__(
        self, model: type[models.Model], guard: Collection[str], columns: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.model = model
        self._guard = guard
        self._columns = columns
        self._compiled: dict[str, _Compiled] = {}

    def run(self, rows: Sequence[Row], *, using: str) -> int:
        """Update one row for each of ``rows``, which give the same values by name. Returns how many were found."""
        connection = connections[using]
        names = tuple(rows[0])
        fields = {name: _column(self.model, name) for name in names}
        values = [{name: fields[name].get_db_prep_save(row[name], connection) for name in names} for row in rows]
        compiled = self._compiled.get(using) or self._compile(names, using)
        with connection.cursor() as cursor:
            if not joins_values(connection):
                return _run_for_each(compiled, values, cursor)
            return sum(_run_for_all(compiled, some, cursor) for some in in_parts(values, len(names), connection))

    def _compile(self, names: Collection[str], using: str) -> _Compiled:
        connection = connections[using]
        quote = connection.ops.quote_name
        query: Any = self.model._base_manager.using(using).all().query.chain(UpdateQuery)
        query.add_update_values(self._columns())
        compiler = query.get_compiler(using)
        sql, parts = compiler.as_sql()
        columns = {name: quote(str(_column(self.model, name).column)) for name in self._guard}
        guards = [(columns[name], *compiler.compile(Parameter(self.model, name))) for name in self._guard]
        table = quote(self.model._meta.db_table)
        condition = "WHERE " + " AND ".join(f"{table}.{column} = {place}" for column, place, _parts in guards)
        if joins_values(connection):
            # Both databases call the columns of written rows so.
            given = ", ".join(f"column{number} AS {quote(name)}" for number, name in enumerate(names, 1))
            begin = f"{sql} FROM (SELECT {given} FROM (VALUES "  # noqa: S608 - of the model's own names
            compiled = _Compiled(begin, parts, f") AS listed) AS {GIVEN} {condition}")
        else:
            compiled = _Compiled(
                f"{sql} {condition}", (*parts, *(part for *_sql, of_guard in guards for part in of_guard))
            )
        self._compiled[using] = compiled
        return compiled


def _run_for_each(compiled: _Compiled, rows: Sequence[Row], cursor: Any) -> int:
    def of(row: Row) -> list[Any]:
        return [row[part.name] if isinstance(part, Parameter) else part for part in compiled.parts]

    cursor.executemany(compiled.sql, [of(row) for row in rows])
    return int(cursor.rowcount)


def _run_for_all(compiled: _Compiled, rows: Sequence[Row], cursor: Any) -> int:
    sql = compiled.sql + places(len(rows), len(rows[0])) + compiled.end
    cursor.execute(sql, [*compiled.parts, *(value for row in rows for value in row.values())])
    return int(cursor.rowcount)


def insert(rows: Sequence[models.Model], *, using: str) -> None:
    """Insert rows of one model, with keys of the database's choice."""
    if not rows:
        return
    connection = connections[using]
    meta = type(rows[0])._meta
    fields = [field for field in meta.local_concrete_fields if not field.primary_key]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in fields)
    sql = f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES "  # noqa: S608 - of the model's own names
    with connection.cursor() as cursor:
        for some in in_parts(rows, len(fields), connection):
            values = [
                field.get_db_prep_save(getattr(row, field.attname), connection) for row in some for field in fields
            ]
            cursor.execute(sql + places(len(some), len(fields)), values)


def places(rows: int, columns: int) -> str:
    """Return the places of so many rows of values in a statement."""
    row = f"({', '.join(['%s'] * columns)})"
    return ", ".join([row] * rows)


def in_parts(rows: Sequence[T], columns: int, connection: BaseDatabaseWrapper) -> Iterator[Sequence[T]]:
    """Yield the rows in parts whose values one statement can take."""
    most = connection.features.max_query_params
    size = max(1, most // columns - 1) if most else len(rows)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
