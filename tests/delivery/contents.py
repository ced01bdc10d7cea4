from __future__ import annotations

from django.apps import apps
from django.db import connection


def everything() -> str:
    """Return all that stands in any column of any table of the app, in small letters, as the database has it."""
    found = []
    with connection.cursor() as cursor:
        for model in apps.get_app_config("bronto_orders").get_models():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)}")
            found += [str(value) for row in cursor.fetchall() for value in row]
    return "\n".join(found).lower()
