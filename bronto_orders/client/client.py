"""The Orders API, call by call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

import requests

from bronto_orders import __version__, wire
from bronto_orders.client.answers import order_in, orders_in, require
from bronto_orders.client.auth import ClientCredentials
from bronto_orders.client.redaction import Secret
from bronto_orders.client.tokens import TokenStore
from bronto_orders.client.transport import MAX_ANSWER_BYTES, Answer, Transport, build_request

_READ_HEADERS: Final = {
    "User-Agent": f"bronto-orders/{__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}
_WRITE_HEADERS: Final = {**_READ_HEADERS, "Content-Type": "application/json"}


class BrontoClient:
    """A client of the Bronto Orders REST API, or of any service that speaks it; one for any number of threads.

    ``connect_timeout`` and ``read_timeout`` are seconds for each wait, ``total_timeout`` is seconds for a whole call,
    the token's share and the one repeat included. ``proxies`` maps URL schemes to proxy URLs; the environment's are
    not used. ``pool_size`` is the greatest number of requests in flight to one host per process; further calls wait.
    ``max_answer_bytes`` caps an answer. ``token_store`` says where the access token is kept: this process's memory
    unless told otherwise.

    ``order`` is a mapping of wire names to values, money as Decimal, or a finished JSON document as bytes. Orders are
    returned as dictionaries with every number that is not whole as Decimal.

    Each call raises, beside what it names itself:

    * NotSentError: the request never left;
    * FateUnknownError, with DeadlineError and UnreadableAnswerError: it left, and may have taken effect;
    * TokenRefusedError, TokenUnavailableError: there is no access token, and the request had no effect;
    * AuthenticationError: 403 or 401, also with a new token (H:auth);
    * BadRequestError: 400 and other 4xx; RateLimitedError: 429; ServerError: 408 and 5xx;
    * UnexpectedAnswerError: any other status, a 2xx that the call does not document included: then the request may
      have taken effect.

    Nothing is repeated but a request refused for its token, once.
    """

    _orders_url = ""

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        api_url: str = "https://rest.bronto.com",
        token_url: str = "https://auth.bronto.com/oauth2/token",  # noqa: S107 - a URL
        connect_timeout: float = 3.0,
        read_timeout: float = 10.0,
        total_timeout: float = 15.0,
        proxies: Mapping[str, str] | None = None,
        pool_size: int = 16,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        token_store: TokenStore | None = None,
    ) -> None:
        # A crash report shows the variables of frames that an error passes, and those below may raise ValueError.
        client_secret = Secret(client_secret)
        self._orders_url = checked_url("api_url", api_url).rstrip("/") + "/orders"
        self._transport = Transport(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            total_timeout=total_timeout,
            proxies=proxies,
            pool_size=pool_size,
            max_answer_bytes=max_answer_bytes,
        )
        self._auth = ClientCredentials(
            client_id,
            client_secret,
            token_url=checked_url("token_url", token_url),
            transport=self._transport,
            store=token_store,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._orders_url.removesuffix('/orders')}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close this process's connections. A later call opens new ones."""
        self._transport.close()

    def add(
        self,
        order: Mapping[str, object] | bytes,
        *,
        create_contact: bool = False,
        trigger_events: bool = True,
        force: bool = False,
        ignore_invalid_tid: bool = False,
    ) -> dict[str, Any]:
        """Add an order and return it as Bronto holds it (S2, S3: 201).

        ``create_contact`` makes a transactional contact of an e-mail address that nobody has. ``trigger_events`` lets
        the change start workflows and messages; ``force`` lets it start them again without a change, so a customer
        may get a message twice. ``ignore_invalid_tid`` drops bad tracking data instead of refusing the order.

        Raises DuplicateOrderError when an order or a return has the customerOrderId, UnknownContactError when nobody
        has the e-mail address, ConflictError when the service does not say which.
        """
        query = _query(
            createContact=create_contact,
            triggerEvents=trigger_events,
            force=force,
            ignoreInvalidTid=ignore_invalid_tid,
        )
        return self._write(self._orders_url + query, order, expected=201)

    def update(
        self,
        order_id: str,
        order: Mapping[str, object] | bytes,
        *,
        create_contact: bool = False,
        trigger_events: bool = True,
        force: bool = False,
        ignore_invalid_tid: bool = False,
    ) -> dict[str, Any]:
        """Update the order that Bronto calls ``order_id`` and return its newest state (S1: 200).

        What ``order`` leaves out stays as it is. Options as for ``add``. Raises NotFoundError for an unknown order
        (C:m26) and UnknownContactError as ``add`` does.
        """
        query = _query(
            createContact=create_contact,
            triggerEvents=trigger_events,
            force=force,
            ignoreInvalidTid=ignore_invalid_tid,
        )
        return self._write(self._order_url(order_id) + query, order, expected=200)

    def update_by_customer_order_id(
        self,
        customer_order_id: str,
        order: Mapping[str, object] | bytes,
        *,
        create_contact: bool = False,
        trigger_events: bool = True,
        force: bool = False,
        ignore_invalid_tid: bool = False,
    ) -> dict[str, Any]:
        """Update the order by the shop's own number (path from C:om, C:m26), otherwise as ``update``."""
        query = _query(
            createContact=create_contact,
            triggerEvents=trigger_events,
            force=force,
            ignoreInvalidTid=ignore_invalid_tid,
        )
        return self._write(self._customer_order_url(customer_order_id) + query, order, expected=200)

    def get(self, order_id: str) -> dict[str, Any]:
        """Return the order that Bronto calls ``order_id`` (H:get: 200). Raises NotFoundError if there is none."""
        answer = self._send(build_request("GET", self._order_url(order_id), _READ_HEADERS))
        return order_in(answer, expected=200, scrub=self._auth.scrub)

    def search(
        self,
        *,
        customer_order_id: str | None = None,
        cart_id: str | None = None,
        start_date: date | str | None = None,
        end_date: date | str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the orders that meet all criteria, an empty list when there are none (H:search: 200, 204).

        Dates are ISO-8601 texts, dates, or datetimes with a time zone. Which of an order's dates they are compared
        with, and whether the ends belong to the range, nobody says. Raises TypeError without any criterion and
        ValueError for an empty one or for a datetime without time zone, before anything is sent.
        """
        criteria = {
            "customerOrderId": customer_order_id,
            "cartId": cart_id,
            "startDate": _date_text(start_date),
            "endDate": _date_text(end_date),
        }
        given = {name: text for name, text in criteria.items() if text is not None}
        if not given:
            raise TypeError("a search needs at least one criterion")
        if not all(given.values()):
            raise ValueError("a criterion of a search must not be empty")
        url = f"{self._orders_url}?{urlencode(given, quote_via=quote)}"
        return orders_in(self._send(build_request("GET", url, _READ_HEADERS)), scrub=self._auth.scrub)

    def delete(self, order_id: str) -> None:
        """Delete the order that Bronto calls ``order_id``; the same answer whether there was one or not (H:del)."""
        self._delete(self._order_url(order_id))

    def delete_by_customer_order_id(self, customer_order_id: str) -> None:
        """Delete the order by the shop's own number, otherwise as ``delete`` (H:delc)."""
        self._delete(self._customer_order_url(customer_order_id))

    def _write(self, url: str, order: Mapping[str, object] | bytes, *, expected: int) -> dict[str, Any]:
        answer = self._send(build_request("POST", url, _WRITE_HEADERS, _body(order)))
        return order_in(answer, expected=expected, scrub=self._auth.scrub)

    def _delete(self, url: str) -> None:
        require(self._send(build_request("DELETE", url, _READ_HEADERS)), expected=204, scrub=self._auth.scrub)

    def _send(self, request: requests.PreparedRequest) -> Answer:
        return self._transport.send(request, auth=self._auth)

    def _order_url(self, order_id: str) -> str:
        return f"{self._orders_url}/{_path_segment(order_id)}"

    def _customer_order_url(self, customer_order_id: str) -> str:
        return f"{self._orders_url}/customerOrderId/{_path_segment(customer_order_id)}"


def checked_url(name: str, url: str) -> str:
    """Return the URL as it is sent, with international host names in their ASCII form.

    Raises ValueError, naming the option, for what is no absolute http or https URL, and for user names, queries and
    fragments: they would end up in the wrong place.
    """
    prepared = requests.PreparedRequest()
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        if not usable or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError
        prepared.prepare_url(url, None)
    except ValueError:
        pass
    if not prepared.url:
        raise ValueError(f"{name} must be an http or https URL without user name, query and fragment")
    return prepared.url


def _query(**options: bool) -> str:
    """Return the four options, all of them each time, because the defaults of two are not documented (S1, S2)."""
    return "?" + "&".join(f"{name}={'true' if value else 'false'}" for name, value in options.items())


def _body(order: Mapping[str, object] | bytes) -> bytes:
    if isinstance(order, bytes):
        return order
    if isinstance(order, Mapping):
        return wire.dumps(order).encode("ascii")
    raise TypeError("an order is a mapping, or JSON as bytes")


def _path_segment(identifier: str) -> str:
    """Encode an order's number for a URL's path, in which the dots of ``.`` and ``..`` have a meaning of their own."""
    if not isinstance(identifier, str):
        raise TypeError("an order's ID is a text")
    if not identifier:
        # The URL would be that of the collection, where a POST adds an order.
        raise ValueError("an order's ID must not be empty")
    segment = quote(identifier, safe="")
    return segment.replace(".", "%2E") if segment in {".", ".."} else segment


def _date_text(value: date | str | None) -> str | None:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("a datetime in a search must have a time zone")
    return value.isoformat() if isinstance(value, date) else value
