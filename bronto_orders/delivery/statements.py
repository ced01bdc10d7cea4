"""Statements for the two writes that every request ends in, made for speed.

The ORM takes ten times as long to compile an UPDATE as the database takes to run it. And it hands PostgreSQL the rows
of an INSERT as arrays, whose texts psycopg escapes in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression
from django.db.models.sql import UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

Row = Mapping[str, Any]


class Parameter(Expression):
    """Stands in a statement for a value of the column ``name``, given when the statement runs.

    No ``Value``: a JSONField would take that apart.
    """

    def __init__(self, model: type[models.Model], name: str) -> None:
        field = model._meta.get_field(name)
        assert isinstance(field, models.Field)  # noqa: S101 - only columns are assigned
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        return "%s", (self,)


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
        self._compiled: dict[str, tuple[str, Sequence[Any]]] = {}

    def run(self, rows: Sequence[Row], *, using: str) -> int:
        """Update one row for each of ``rows``, which give the values by name. Returns how many were found."""
        connection = connections[using]
        sql, parts = self._compiled.get(using) or self._compile(using)

        def value(part: Any, row: Row) -> Any:
            if isinstance(part, Parameter):
                return part.output_field.get_db_prep_save(row[part.name], connection)
            return part

        with connection.cursor() as cursor:
            cursor.executemany(sql, [[value(part, row) for part in parts] for row in rows])
            return int(cursor.rowcount)

    def _compile(self, using: str) -> tuple[str, Sequence[Any]]:
        found = self.model._default_manager.using(using).filter(
            **{name: Parameter(self.model, name) for name in self._guard}
        )
        query: Any = found.query.chain(UpdateQuery)
        query.add_update_values(self._columns())
        self._compiled[using] = query.get_compiler(using).as_sql()
        return self._compiled[using]


def insert(rows: Sequence[models.Model], *, using: str) -> None:
    """Insert rows of one model, with keys of the database's choice."""
    if not rows:
        return
    connection = connections[using]
    meta = type(rows[0])._meta
    fields = [field for field in meta.local_concrete_fields if not field.primary_key]
    quote = connection.ops.quote_name
    names, places = ", ".join(quote(str(field.column)) for field in fields), ", ".join(["%s"] * len(fields))
    sql = f"INSERT INTO {quote(meta.db_table)} ({names}) VALUES ({places})"  # noqa: S608 - of the model's own names
    values = [[field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields] for row in rows]
    with connection.cursor() as cursor:
        cursor.executemany(sql, values)
