"""Statements for the two writes that every request ends in, made for speed.

The ORM takes ten times as long to compile an UPDATE as the database takes to run it. And a statement for each row is a
wait for each row: every wait lets the threads that send run, and it may be milliseconds until this one's turn comes
again. So on databases that can, all rows go as one JSON document in one parameter: psycopg takes statements with many
parameters apart in Python, and escapes arrays there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression
from django.db.models.sql import UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

Row = Mapping[str, Any]
#: A column, by the name that rows give its value by.
Named: TypeAlias = "tuple[str, models.Field[Any, Any]]"

#: What a statement calls the table that it makes of the rows.
GIVEN = "given"


def takes_rows_as_json(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a statement of this database can take all rows at once."""
    if connection.vendor == "sqlite":
        version: tuple[int, ...] = connection.Database.sqlite_version_info  # type: ignore[attr-defined]
        return version >= (3, 33)  # UPDATE ... FROM
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
        if takes_rows_as_json(connection):
            return f"{GIVEN}.{connection.ops.quote_name(self.name)}", ()
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
        """Update one row for each of ``rows``, which give the same values by name. Returns how many were found."""
        connection = connections[using]
        fields = [(name, _column(self.model, name)) for name in rows[0]]
        sql, parts = self._compiled.get(using) or self._compile(fields, using)
        with connection.cursor() as cursor:
            if takes_rows_as_json(connection):
                cursor.execute(sql, [*parts, _as_json(rows, fields, connection)])
            else:
                cursor.executemany(sql, [[_value(part, row, connection) for part in parts] for row in rows])
            return int(cursor.rowcount)

    def _compile(self, fields: Collection[Named], using: str) -> tuple[str, Sequence[Any]]:
        connection = connections[using]
        quote = connection.ops.quote_name
        query: Any = self.model._base_manager.using(using).all().query.chain(UpdateQuery)
        query.add_update_values(self._columns())
        compiler = query.get_compiler(using)
        sql, parts = compiler.as_sql()
        if takes_rows_as_json(connection):
            sql += f" FROM {_table(fields, connection)}"
        conditions = []
        for name in self._guard:
            place, values = compiler.compile(Parameter(self.model, name))
            column = quote(str(_column(self.model, name).column))
            conditions.append(f"{quote(self.model._meta.db_table)}.{column} = {place}")
            parts = (*parts, *values)
        self._compiled[using] = f"{sql} WHERE {' AND '.join(conditions)}", parts
        return self._compiled[using]


def insert(rows: Sequence[models.Model], *, using: str) -> None:
    """Insert rows of one model, with keys of the database's choice."""
    if not rows:
        return
    connection = connections[using]
    meta = type(rows[0])._meta
    fields = [(field.attname, field) for field in meta.local_concrete_fields if not field.primary_key]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for _name, field in fields)
    sql = f"INSERT INTO {quote(meta.db_table)} ({columns}) "
    values = [vars(row) for row in rows]
    with connection.cursor() as cursor:
        if takes_rows_as_json(connection):
            names = ", ".join(quote(name) for name, _field in fields)
            sql += f"SELECT {names} FROM {_table(fields, connection)}"  # noqa: S608 - of the model's own names
            cursor.execute(sql, [_as_json(values, fields, connection)])
        else:
            sql += f"VALUES ({', '.join(['%s'] * len(fields))})"
            of_row = [[field.get_db_prep_save(row[name], connection) for name, field in fields] for row in values]
            cursor.executemany(sql, of_row)


def _value(part: Any, row: Row, connection: BaseDatabaseWrapper) -> Any:
    if isinstance(part, Parameter):
        return part.output_field.get_db_prep_save(row[part.name], connection)
    return part


def _table(fields: Collection[Named], connection: BaseDatabaseWrapper) -> str:
    """Return the SQL that makes a table of the rows."""
    quote = connection.ops.quote_name
    if connection.vendor == "postgresql":
        columns = ", ".join(f"{quote(name)} {_type(field, connection)}" for name, field in fields)
        return f"jsonb_to_recordset(%s::jsonb) AS {GIVEN} ({columns})"
    columns = ", ".join(f"json_extract(value, '$.{name}') AS {quote(name)}" for name, _field in fields)
    return f"(SELECT {columns} FROM json_each(%s)) AS {GIVEN}"  # noqa: S608 - of the model's own names


def _type(field: models.Field[Any, Any], connection: BaseDatabaseWrapper) -> str:
    # With a length, a text that is longer than its column would be cut without a word.
    if isinstance(field, models.CharField | models.TextField):
        return "text"
    return str(field.rel_db_type(connection) if field.primary_key else field.db_type(connection))


def _as_json(rows: Sequence[Row], fields: Collection[Named], connection: BaseDatabaseWrapper) -> str:
    """Return the rows as the database reads them: SQLite as it stores them, PostgreSQL as it writes them itself."""
    if connection.vendor == "postgresql":
        plain = [{name: field.get_prep_value(row[name]) for name, field in fields} for row in rows]
        return json.dumps(plain, default=str)
    stored = [{name: field.get_db_prep_save(row[name], connection) for name, field in fields} for row in rows]
    return json.dumps(stored)
