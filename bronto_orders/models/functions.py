from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Func
from django.db.models.sql.compiler import SQLCompiler


class DbNow(Func):
    """The database server's clock, in UTC, shifted by ``seconds``.

    Django's ``Now()`` is not used: on MariaDB it follows the server's time zone, so that its values are wrong by the
    zone's offset beside those that Django writes. Worker clocks are not used either: they differ.
    """

    output_field = DateTimeField()

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds
        super().__init__()

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *args: Any, **context: Any) -> Any:
        if "template" not in context:
            shift = f" + INTERVAL '{self.seconds:.6f} seconds'" if self.seconds else ""
            context["template"] = f"STATEMENT_TIMESTAMP(){shift}"
        return super().as_sql(compiler, connection, *args, **context)

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        # Doubled twice: once for this template, once for the statement's parameters.
        shift = f", '{self.seconds:+.6f} seconds'" if self.seconds else ""
        template = f"STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW'{shift})"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        shift = f" + INTERVAL {round(self.seconds * 1_000_000)} MICROSECOND" if self.seconds else ""
        return self.as_sql(compiler, connection, template=f"UTC_TIMESTAMP(6){shift}", **context)
