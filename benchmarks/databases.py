"""The databases of a run: made empty at its start and dropped at its end, on servers of this machine."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from django.db import connections

from benchmarks.settings import CELERY_BROKER

#: What a database is called in tables.
TITLES = {"default": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB", "large": "PostgreSQL"}
_SERVERS = {"postgresql": "postgres", "large": "postgres", "mariadb": "mysql"}


class MissingServiceError(Exception):
    """A server that a benchmark needs is not there."""


@contextlib.contextmanager
def _server(alias: str) -> Iterator[Any]:
    """Yield a cursor on the server, outside any database of ours."""
    connection = connections[alias].copy()
    connection.settings_dict = {**connection.settings_dict, "NAME": _SERVERS[alias]}
    try:
        connection.ensure_connection()
    except Exception as error:
        raise MissingServiceError(f"{TITLES[alias]} does not answer on 127.0.0.1 ({type(error).__name__})") from None
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def create(alias: str) -> None:
    """Make the database, empty, with all tables."""
    drop(alias)
    if alias in _SERVERS:
        with _server(alias) as cursor:
            cursor.execute(f"CREATE DATABASE {connections[alias].settings_dict['NAME']}")
    call_command("migrate", database=alias, verbosity=0, run_syncdb=True)


def drop(alias: str) -> None:
    """Remove the database if there is one."""
    connections[alias].close()
    name = connections[alias].settings_dict["NAME"]
    if alias in _SERVERS:
        with _server(alias) as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}" + (" WITH (FORCE)" if alias != "mariadb" else ""))
        return
    for path in (name, f"{name}-wal", f"{name}-shm"):
        Path(path).unlink(missing_ok=True)


def _redis() -> Any:
    """Return a client of the broker, None when it does not answer."""
    try:
        import redis

        client = redis.Redis.from_url(CELERY_BROKER, socket_connect_timeout=1)
        client.ping()
    except Exception:
        return None
    return client


def need_redis() -> Any:
    """Return a client of the broker."""
    client = _redis()
    if client is None:
        raise MissingServiceError("Redis does not answer on 127.0.0.1, or its Python package is not installed")
    return client


def set_up() -> None:
    """Make Django ready in this process."""
    django.setup()


def versions() -> list[str]:
    """Return names and versions of the servers that answer."""
    found = []
    for alias in ("default", "postgresql", "mariadb"):
        try:
            if alias in _SERVERS:
                with _server(alias) as cursor:
                    cursor.execute("SHOW server_version" if alias == "postgresql" else "SELECT VERSION()")
                    found.append(f"{TITLES[alias]} {re.sub(r'[^0-9.].*', '', cursor.fetchone()[0])}")
            else:
                found.append(f"{TITLES[alias]} {sqlite3.sqlite_version}")
        except MissingServiceError as error:
            print(error)
    if (server := _redis()) is not None:
        found.append(f"Redis {server.info('server')['redis_version']}")
    return found
