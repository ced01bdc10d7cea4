"""One sandbox: it takes a call and gives an answer, whatever carries them.

The server, the Django view and the ``requests`` adapter all lead here. Several sandboxes may live in one process; they
share nothing.
"""

from __future__ import annotations

import json
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any, Final

from bronto_orders.sandbox import control
from bronto_orders.sandbox.calls import OrderCalls
from bronto_orders.sandbox.clock import Clock
from bronto_orders.sandbox.exchange import Exchange
from bronto_orders.sandbox.faults import FaultBoard
from bronto_orders.sandbox.messages import Answer, Request, attempt
from bronto_orders.sandbox.oauth import ACCESS, DEFAULT_CLIENT_ID, DEFAULT_CLIENT_SECRET, REFRESH, SCOPES, Desk, digest
from bronto_orders.sandbox.orders import Orders
from bronto_orders.sandbox.refusals import Missing
from bronto_orders.sandbox.store import IN_MEMORY, Client, Store
from bronto_orders.sandbox.switches import SwitchBoard

#: One community sample ends the token's path in a slash; no call here is ever redirected.
_TOKEN_PATHS: Final = (["oauth2", "token"], ["oauth2", "token", ""])


class Service:
    """A sandbox with its orders, contacts, tokens, faults, switches and request log.

    ``database`` is an SQLite file to keep, or ``":memory:"``. Raises ``store.DatabaseError`` if it cannot be used.
    """

    def __init__(
        self,
        database: str | Path = IN_MEMORY,
        *,
        client_id: str = DEFAULT_CLIENT_ID,
        client_secret: str = DEFAULT_CLIENT_SECRET,
    ) -> None:
        self.client_id = client_id
        self.store = Store(database)
        self.faults = FaultBoard()
        self.switches = SwitchBoard()
        self.clock = Clock(self.switches)
        self.book = Orders(self.store, self.switches, self.clock)
        self._desk = Desk(self.store, self.switches, self.clock)
        self._calls = OrderCalls(self.book, self._desk, self.store, self.switches)
        self._exchange = Exchange(self.store, self.faults, self.clock, self.revoke_tokens)
        self.store.install_client(Client(client_id, digest(client_secret), SCOPES))

    def close(self) -> None:
        """Give up the calls that are held back and close the database."""
        self.faults.wake()
        self.store.close()

    def answer(self, request: Request) -> Answer:
        """Answer one call. Never raises: what goes wrong here is a 500 like any other service's."""
        answer = attempt(lambda: self._route(request))
        answer.headers.setdefault("Date", self.clock.http_date())
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        return answer

    # What it holds, for tests, the control API and the console: the newest ``last``, oldest first

    def orders(self, last: int | None = None) -> list[dict[str, Any]]:
        """The orders as the API shows them."""
        return [json.loads(document) for document in self.store.list_orders(last)]

    def contacts(self, last: int | None = None) -> list[dict[str, Any]]:
        """``emailAddress``, ``status`` and ``createdDate`` of each contact."""
        return self.store.list_contacts(last)

    def returns(self, last: int | None = None) -> list[dict[str, Any]]:
        """The ids that returns hold."""
        return self.store.list_returns(last)

    def events(self, last: int | None = None) -> list[dict[str, Any]]:
        """Each time the workflows fired: the customer may have been mailed once for each."""
        return self.store.list_events(last)

    def requests(self, last: int | None = None) -> list[dict[str, Any]]:
        """The token and order calls, secrets masked."""
        return self.store.list_calls(last)

    def counts(self) -> dict[str, int]:
        """How many there are of each."""
        names = ("orders", "contacts", "returns", "events", "requests")
        return {name: self.store.count("calls" if name == "requests" else name) for name in names}

    # What may be staged

    def add_client(self, client_id: str, client_secret: str, scopes: tuple[str, ...] = SCOPES) -> bool:
        """Make an OAuth client, or change the one there is; whether it is new. A reset leaves the first one alone."""
        with self.store.transaction():
            return self.store.save_client(Client(client_id, digest(client_secret), scopes))

    def revoke_tokens(self, *, refresh: bool = False) -> dict[str, int]:
        """End all access tokens, and the refresh tokens if asked to; return how many of each."""
        access, *others = self._desk.revoke(ACCESS, *([REFRESH] if refresh else []))
        return {"accessTokens": access, "refreshTokens": sum(others)}

    def reset(self) -> None:
        """Back to the beginning. Only the first client stays, with its tokens."""
        self.faults.clear()
        self.faults.wake()
        self.switches.reset()
        self.store.clear()

    def _route(self, request: Request) -> Answer:
        segments = request.segments()
        match segments[0]:
            case "orders":
                return self._answer_order_call(request, segments)
            case "oauth2" if segments in _TOKEN_PATHS:
                return self._answer_token_call(request, segments)
            case "_sandbox":
                return control.answer(self, request, segments[1:])
        raise Missing("no such path")

    def _answer_order_call(self, request: Request, segments: list[str]) -> Answer:
        strike = self.faults.claim(
            request.method, _path(segments), lambda: self._calls.customer_order_id(request, segments[1:])
        )
        return self._exchange.answer(
            request, strike, lambda: self._calls.answer(request, segments[1:]), is_token_call=False
        )

    def _answer_token_call(self, request: Request, segments: list[str]) -> Answer:
        strike = self.faults.claim(request.method, _path(segments), lambda: None)
        return self._exchange.answer(request, strike, lambda: self._desk.answer(request), is_token_call=True)


_sharing = threading.Lock()


def shared_service(database: str) -> Service:
    """The sandbox that all calls of this process on a database lead to, made by the first of them.

    A process that was forked from this one makes its own, as a connection to SQLite does not survive that.
    """
    # Without the lock two first calls at once would each get a sandbox, and one of the two be forgotten.
    with _sharing:
        return _shared(os.getpid(), database)


@cache
def _shared(process: int, database: str) -> Service:
    return Service(database)


def _path(segments: list[str]) -> str:
    return "/" + "/".join(segments)
