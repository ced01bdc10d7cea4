"""What the stand-in remembers, in SQLite: in memory or in a file that processes may share.

An order is kept as the document that the API shows, beside the few columns that calls look it up by.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bronto_orders.sandbox.wire import encode

IN_MEMORY: Final = ":memory:"
SCHEMA_VERSION: Final = 1
BUSY_SECONDS: Final = 60
PAUSE: Final = 0.01
CALLS_KEPT: Final = 10_000
CALL_BYTES_KEPT: Final = 64 * 1024 * 1024
PRUNE_EVERY: Final = 250

# The index numbers give the order of arrival, so they are never used again.
_SCHEMA: Final = """
CREATE TABLE orders (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT NOT NULL UNIQUE,
    customer_order_id TEXT UNIQUE,
    cart_id TEXT,
    order_date TEXT,
    created_date TEXT NOT NULL,
    was_processed INTEGER NOT NULL,
    order_source TEXT,
    document TEXT NOT NULL
);
CREATE INDEX orders_cart_id ON orders (cart_id);
CREATE INDEX orders_order_date ON orders (order_date);
CREATE INDEX orders_created_date ON orders (created_date);
CREATE TABLE contacts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, address_key TEXT NOT NULL UNIQUE, contact_id TEXT NOT NULL,
    address TEXT NOT NULL, status TEXT NOT NULL, created_date TEXT NOT NULL
);
CREATE TABLE returns (
    number INTEGER PRIMARY KEY AUTOINCREMENT, customer_order_id TEXT NOT NULL UNIQUE, created_date TEXT NOT NULL
);
CREATE TABLE events (number INTEGER PRIMARY KEY AUTOINCREMENT, document TEXT NOT NULL);
CREATE TABLE calls (number INTEGER PRIMARY KEY AUTOINCREMENT, size INTEGER NOT NULL, document TEXT NOT NULL);
CREATE TABLE clients (
    client_id TEXT PRIMARY KEY, secret_digest TEXT NOT NULL, scopes TEXT NOT NULL, permanent INTEGER NOT NULL
);
CREATE TABLE tokens (
    token TEXT PRIMARY KEY, kind TEXT NOT NULL, expires_at REAL NOT NULL,
    client_id TEXT NOT NULL REFERENCES clients ON DELETE CASCADE
);
CREATE INDEX tokens_expires_at ON tokens (kind, expires_at);
"""


class DatabaseError(Exception):
    """The file cannot be used; the message says why."""


@dataclass(slots=True)
class Order:
    """An order: the document as the API shows it, and what the API never tells."""

    document: dict[str, Any]
    #: Whether it was ever processed; "Order Is Added" belongs to the first time only (S1, newer crawl).
    was_processed: bool = False
    order_source: str | None = None
    number: int | None = None
    #: The document as JSON, as it is stored.
    text: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """A REST integration: a key, a secret and the scopes chosen when it was made (S0, D:rest)."""

    client_id: str
    secret_digest: str
    scopes: tuple[str, ...]


class Store:
    """The tables of one sandbox. Threads take turns; so do processes that share a file."""

    def __init__(self, database: str | Path = IN_MEMORY) -> None:
        self._lock = threading.RLock()
        self._recorded = 0
        try:
            self._database = sqlite3.connect(
                database, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            # At the end of the process at the latest: Python warns of connections that nobody closes.
            self._close = weakref.finalize(self, self._database.close)
            try:
                self._open()
            except BaseException:
                self._close()
                raise
        except sqlite3.Error as error:
            raise DatabaseError(f"cannot use the database {database}: {error}") from None

    def _open(self) -> None:
        # A killed process loses nothing that it answered for; a machine that loses power may.
        self._database.executescript("PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;")
        with self.transaction():
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            (tables,) = self._database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            if version == 0 and not tables:
                for statement in _SCHEMA.split(";\n"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError("it was not made by this version of the sandbox; name another file")
        # Not before it is known that the file is ours, as it is changed for good.
        self._log_ahead()

    def _log_ahead(self) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._database.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                # For this one statement SQLite does not wait until another process lets go of a new file.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)
            else:
                return

    def close(self) -> None:
        """Close the database; one in memory is gone."""
        with self._lock:
            self._close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and alone: reads before a write see what no one else can change meanwhile."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                # Of some errors, such as a full disk, SQLite has gone back by itself.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    # Orders

    def insert_order(self, order: Order) -> None:
        names = "order_id, customer_order_id, cart_id, order_date, created_date, was_processed, order_source, document"
        self._run(f"INSERT INTO orders ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *_columns(order))  # noqa: S608

    def save_order(self, order: Order) -> None:
        self._run(
            "UPDATE orders SET order_id=?, customer_order_id=?, cart_id=?, order_date=?, created_date=?,"
            " was_processed=?, order_source=?, document=? WHERE number=?",
            *_columns(order),
            order.number,
        )

    def delete_order(self, order: Order) -> None:
        self._run("DELETE FROM orders WHERE number=?", order.number)

    def find_order(self, column: str, value: str) -> Order | None:
        """The order with this ``order_id`` or ``customer_order_id``."""
        found = self.find_orders([(f"{column} = ?", value)])
        return found[0] if found else None

    def find_orders(self, conditions: list[tuple[str, str]]) -> list[Order]:
        """The orders that meet all conditions, oldest first. A condition is SQL of ours; its value is theirs."""
        where = " AND ".join(condition for condition, _ in conditions)
        rows = self._all(
            f"SELECT document, was_processed, order_source, number FROM orders WHERE {where} ORDER BY number",  # noqa: S608
            *(value for _, value in conditions),
        )
        return [Order(_load(text), bool(was), source, number, text) for text, was, source, number in rows]

    def holds_order(self, customer_order_id: str) -> bool:
        return bool(self._all("SELECT 1 FROM orders WHERE customer_order_id=?", customer_order_id))

    # What orders refer to

    def add_return(self, customer_order_id: str, created_date: str) -> None:
        self._run("INSERT OR IGNORE INTO returns VALUES (NULL, ?, ?)", customer_order_id, created_date)

    def holds_return(self, customer_order_id: str) -> bool:
        return bool(self._all("SELECT 1 FROM returns WHERE customer_order_id=?", customer_order_id))

    def contact_id(self, address: str) -> str | None:
        """The id of the contact with this address; its case does not matter (our choice)."""
        rows = self._all("SELECT contact_id FROM contacts WHERE address_key=?", address.lower())
        return str(rows[0][0]) if rows else None

    def save_contact(self, contact_id: str, address: str, status: str, created_date: str) -> bool:
        """Make a contact, or give the one there is this spelling and status; whether it is new."""
        changed = self._run(
            "UPDATE contacts SET address=?, status=? WHERE address_key=?", address, status, address.lower()
        )
        if not changed:
            values = (address.lower(), contact_id, address, status, created_date)
            self._run("INSERT INTO contacts VALUES (NULL, ?, ?, ?, ?, ?)", *values)
        return not changed

    def get_contact(self, address: str) -> dict[str, Any]:
        """The contact with this address, which must be there."""
        (row,) = self._all("SELECT address, status, created_date FROM contacts WHERE address_key=?", address.lower())
        return _show_contact(*row)

    def add_event(self, event: dict[str, Any]) -> None:
        self._run("INSERT INTO events VALUES (NULL, ?)", encode(event))

    # The request log

    def add_call(self, call: dict[str, Any]) -> None:
        """Keep a call; now and then drop those that are too many or too big in all."""
        document = encode(call)
        size = len(document) if document.isascii() else len(document.encode("utf-8"))
        with self._lock:
            self._run("INSERT INTO calls VALUES (NULL, ?, ?)", size, document)
            self._recorded += 1
            if self._recorded % PRUNE_EVERY == 0:
                self._prune_calls()

    def _prune_calls(self) -> None:
        self._run("DELETE FROM calls WHERE number <= (SELECT MAX(number) FROM calls) - ?", CALLS_KEPT)
        self._run(
            "DELETE FROM calls WHERE number <= (SELECT MAX(number) FROM"
            " (SELECT number, SUM(size) OVER (ORDER BY number DESC) AS size FROM calls) WHERE size > ?)",
            CALL_BYTES_KEPT,
        )

    # What the control API shows: the newest ``last``, oldest first

    def list_orders(self, last: int | None = None) -> list[str]:
        return [document for (document,) in self._newest("document", "orders", last)]

    def list_contacts(self, last: int | None = None) -> list[dict[str, Any]]:
        rows = self._newest("address, status, created_date", "contacts", last)
        return [_show_contact(*row) for row in rows]

    def list_returns(self, last: int | None = None) -> list[dict[str, Any]]:
        rows = self._newest("customer_order_id, created_date", "returns", last)
        return [{"customerOrderId": name, "createdDate": date} for name, date in rows]

    def list_events(self, last: int | None = None) -> list[dict[str, Any]]:
        return [json.loads(document) for (document,) in self._newest("document", "events", last)]

    def list_calls(self, last: int | None = None) -> list[dict[str, Any]]:
        most = CALLS_KEPT if last is None else min(last, CALLS_KEPT)
        return [json.loads(document) for (document,) in self._newest("document", "calls", most)]

    def count(self, table: str) -> int:
        return int(self._all(f"SELECT COUNT(*) FROM {table}")[0][0])  # noqa: S608 - a name of ours

    # OAuth

    def save_client(self, client: Client, *, permanent: bool = False) -> bool:
        """Make a client, or give the one there is this secret and these scopes; whether it is new."""
        values = (client.secret_digest, " ".join(client.scopes))
        changed = self._run(
            "UPDATE clients SET secret_digest=?, scopes=?, permanent=MAX(permanent, ?) WHERE client_id=?",
            *(*values, permanent, client.client_id),
        )
        if not changed:
            self._run("INSERT INTO clients VALUES (?, ?, ?, ?)", client.client_id, *values, permanent)
        return not changed

    def install_client(self, client: Client) -> None:
        """Make this the one client that a reset leaves."""
        with self.transaction():
            self._run("DELETE FROM clients WHERE permanent AND client_id<>?", client.client_id)
            self.save_client(client, permanent=True)

    def find_client(self, client_id: str) -> Client | None:
        rows = self._all("SELECT client_id, secret_digest, scopes FROM clients WHERE client_id=?", client_id)
        return next((Client(name, digest, tuple(scopes.split())) for name, digest, scopes in rows), None)

    def add_token(self, kind: str, token: str, client_id: str, expires_at: datetime) -> None:
        self._run("INSERT INTO tokens VALUES (?, ?, ?, ?)", token, kind, expires_at.timestamp(), client_id)

    def find_token(self, kind: str, token: str) -> tuple[str, float, tuple[str, ...]] | None:
        """The client id, the time of expiry in Unix seconds and the scopes behind a token."""
        rows = self._all(
            "SELECT client_id, expires_at, scopes FROM tokens JOIN clients USING (client_id) WHERE token=? AND kind=?",
            *(token, kind),
        )
        return next(((name, expires_at, tuple(scopes.split())) for name, expires_at, scopes in rows), None)

    def delete_token(self, token: str) -> None:
        self._run("DELETE FROM tokens WHERE token=?", token)

    def delete_tokens(self, kind: str, *, expired_at: datetime | None = None) -> int:
        """Delete all tokens of a kind, or those that had expired by a moment; return how many."""
        if expired_at is None:
            return self._run("DELETE FROM tokens WHERE kind=?", kind)
        return self._run("DELETE FROM tokens WHERE kind=? AND expires_at<=?", kind, expired_at.timestamp())

    def clear(self) -> None:
        """Delete all but the permanent client and its tokens."""
        with self.transaction():
            for table in ("orders", "contacts", "returns", "events", "calls"):
                self._run(f"DELETE FROM {table}")  # noqa: S608
            self._run("DELETE FROM clients WHERE NOT permanent")

    def _newest(self, columns: str, table: str, last: int | None) -> list[Any]:
        rows = self._all(f"SELECT {columns} FROM {table} ORDER BY number DESC LIMIT ?", -1 if last is None else last)  # noqa: S608
        return rows[::-1]

    def _run(self, statement: str, *values: object) -> int:
        with self._lock:
            return self._database.execute(statement, values).rowcount

    def _all(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def _columns(order: Order) -> tuple[object, ...]:
    document = order.document
    order.text = encode(document)
    return (
        *(document[name] for name in ("orderId", "customerOrderId", "cartId", "orderDate", "createdDate")),
        order.was_processed,
        order.order_source,
        order.text,
    )


def _show_contact(address: str, status: str, created_date: str) -> dict[str, Any]:
    return {"emailAddress": address, "status": status, "createdDate": created_date}


def _load(document: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(document, parse_float=Decimal, parse_int=Decimal)
    return loaded
