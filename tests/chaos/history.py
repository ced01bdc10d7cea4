"""Every state that each order at the sandbox has had, in order, whoever got an answer and whoever did not.

The sandbox's request log tells when calls came, not when they took effect, so its database keeps a diary for us: a
trigger writes down each change of the table of orders, in the transaction of that change.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

_DIARY = """
CREATE TABLE chaos_history (
    number INTEGER PRIMARY KEY AUTOINCREMENT, moment TEXT NOT NULL, kind TEXT NOT NULL, document TEXT NOT NULL
);
CREATE TRIGGER chaos_added AFTER INSERT ON orders BEGIN
    INSERT INTO chaos_history VALUES (NULL, STRFTIME('%Y-%m-%d %H:%M:%f+00:00', 'now'), 'added', NEW.document);
END;
CREATE TRIGGER chaos_updated AFTER UPDATE ON orders BEGIN
    INSERT INTO chaos_history VALUES (NULL, STRFTIME('%Y-%m-%d %H:%M:%f+00:00', 'now'), 'updated', NEW.document);
END;
CREATE TRIGGER chaos_deleted AFTER DELETE ON orders BEGIN
    INSERT INTO chaos_history VALUES (NULL, STRFTIME('%Y-%m-%d %H:%M:%f+00:00', 'now'), 'deleted', OLD.document);
END;
"""


@dataclass(frozen=True)
class State:
    """What an order at the sandbox was from a moment on."""

    moment: datetime
    #: ``added``, ``updated`` or ``deleted``.
    kind: str
    document: dict[str, Any]

    @property
    def stamp(self) -> Decimal:
        """Greater in a newer state."""
        return Decimal(str(self.document["grandTotal"]))

    def __str__(self) -> str:
        return f"{self.moment:%H:%M:%S.%f} {self.kind} stamp {self.stamp}"


def keep(database: Path) -> None:
    """Have the sandbox's database keep the diary."""
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        connection.executescript(_DIARY)


def read(database: Path) -> dict[str, list[State]]:
    """Return the states by the order's number at the shop."""
    states: dict[str, list[State]] = defaultdict(list)
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        for moment, kind, text in connection.execute(
            "SELECT moment, kind, document FROM chaos_history ORDER BY number"
        ):
            document = json.loads(text, parse_float=Decimal)
            states[document["customerOrderId"]].append(State(datetime.fromisoformat(moment), kind, document))
    return dict(states)
