"""A witness in the database: triggers that write down every change of an order's state, whoever makes it and how."""

from __future__ import annotations

from django.db import connection

from bronto_orders.models.transitions import TRANSITIONS

Pair = tuple[str | None, str]

_TABLE = "CREATE TABLE bronto_tests_transition (was VARCHAR(16), became VARCHAR(16) NOT NULL)"
_BORN = "INSERT INTO bronto_tests_transition VALUES (NULL, NEW.sync_state)"
_CHANGED = "INSERT INTO bronto_tests_transition VALUES (OLD.sync_state, NEW.sync_state)"
_AFTER_INSERT = "CREATE TRIGGER bronto_tests_born AFTER INSERT ON bronto_orders_order FOR EACH ROW"
_AFTER_UPDATE = "CREATE TRIGGER bronto_tests_changed AFTER UPDATE ON bronto_orders_order FOR EACH ROW"
_DIFFERS = "OLD.sync_state <> NEW.sync_state"
_INSTALL = {
    "sqlite": [
        _TABLE,
        f"{_AFTER_INSERT} BEGIN {_BORN}; END",
        f"{_AFTER_UPDATE} WHEN {_DIFFERS} BEGIN {_CHANGED}; END",
    ],
    "postgresql": [
        _TABLE,
        "CREATE FUNCTION bronto_tests_born() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {_BORN}; RETURN NULL; END $$",
        "CREATE FUNCTION bronto_tests_changed() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {_CHANGED}; RETURN NULL; END $$",
        f"{_AFTER_INSERT} EXECUTE FUNCTION bronto_tests_born()",
        f"{_AFTER_UPDATE} WHEN ({_DIFFERS}) EXECUTE FUNCTION bronto_tests_changed()",
    ],
    "mysql": [
        _TABLE,
        f"{_AFTER_INSERT} {_BORN}",
        f"{_AFTER_UPDATE} IF {_DIFFERS} THEN {_CHANGED}; END IF",
    ],
}


def install() -> None:
    """Begin to watch, until the database is dropped."""
    with connection.cursor() as cursor:
        for statement in _INSTALL[connection.vendor]:
            cursor.execute(statement)


def seen() -> set[Pair]:
    """Return the changes since the last ``forget``: from what to what, from None for a row that was inserted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT was, became FROM bronto_tests_transition")
        return set(cursor.fetchall())


def unknown() -> set[Pair]:
    """Return the changes that the table does not allow."""
    return seen() - TRANSITIONS.keys()


def forget() -> None:
    """Begin anew: what was written so far, the test has written by hand."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM bronto_tests_transition")
