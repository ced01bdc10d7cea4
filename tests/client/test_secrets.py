from __future__ import annotations

import copy
import logging

import pytest

from bronto_orders.client import CacheTokenStore
from bronto_orders.exceptions import (
    BrontoError,
    NotSentError,
    TokenUnavailableError,
)
from tests.client.conftest import all_that_shows
from tests.client.stub import SECRET, reply

ORDER = {"orderId": "o-1"}


def quote_everything(bronto):
    """Let the server quote back what a careless one might."""

    def orders(request, connection):
        token = request.headers["authorization"].removeprefix("Bearer ")
        return reply(bronto.order_status, {"message": f"{token} by {SECRET}"}, {"X-Reason": f"{token} {SECRET}"})

    return orders


@pytest.mark.parametrize("status", [200, 202, 400, 403, 409, 500])
def test_errors_show_no_secrets(bronto, client, status, caplog):
    caplog.set_level(logging.DEBUG)
    client.get("o-1")
    bronto.order_status, bronto.orders = status, quote_everything(bronto)
    with pytest.raises(BrontoError) as caught:
        client.add({"customerOrderId": "1"})
    assert_clean(bronto, caught.value, caplog.text)


def assert_clean(bronto, error, log):
    shown = all_that_shows(error) + log
    for secret in (SECRET, *bronto.good_tokens, *bronto.good_refresh_tokens):
        assert secret not in shown
    assert isinstance(copy.copy(error), type(error))


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(lambda bronto, request: None, id="closed"),
        pytest.param(lambda bronto, request: bronto.server.stopping.wait(2) and None, id="silent"),
        pytest.param(lambda bronto, request: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", id="cut off"),
        pytest.param(lambda bronto, request: b"garbage\r\n", id="garbage"),
    ],
)
def test_failed_connections_show_no_secrets(bronto, make_client, handler, caplog):
    caplog.set_level(logging.DEBUG)
    client = make_client(total_timeout=0.4)
    client.get("o-1")

    def orders(request, connection):
        answer = handler(bronto, request)
        if answer:
            connection.sendall(answer)

    bronto.orders = orders
    with pytest.raises(BrontoError) as caught:
        client.add({"customerOrderId": "1"})
    assert_clean(bronto, caught.value, caplog.text)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_failed_token_requests_show_no_secrets(bronto, client, status, caplog):
    caplog.set_level(logging.DEBUG)
    bronto.issue = lambda request: reply(
        status, request.form | {"access_token": f"bad {SECRET}", "refresh_token": SECRET}
    )
    with pytest.raises(BrontoError) as caught:
        client.add({"customerOrderId": "1"})
    assert_clean(bronto, caught.value, caplog.text)


def test_errors_show_no_proxy_password(bronto, make_client):
    client = make_client(proxies={"https": "http://user:pr0xy-pw@127.0.0.1:9"})
    client.get("o-1")
    bronto.revoke()
    bronto.token_status = 500
    with pytest.raises(TokenUnavailableError) as caught:
        client.get("o-1")
    assert "pr0xy-pw" not in all_that_shows(caught.value)


def test_refused_connections_show_no_secrets(bronto, client, caplog):
    caplog.set_level(logging.DEBUG)
    client.get("o-1")
    client._transport.close()
    bronto.server.close()
    with pytest.raises(NotSentError) as caught:
        client.add({"customerOrderId": "1"})
    assert_clean(bronto, caught.value, caplog.text)


def test_a_foreign_exception_passes_and_shows_no_secrets(bronto, client, monkeypatch):
    class TimeLimitExceededError(Exception):
        pass

    def interrupted(*args, **kwargs):
        raise TimeLimitExceededError

    client.get("o-1")
    monkeypatch.setattr("urllib3.connection.HTTPConnection.getresponse", interrupted)
    with pytest.raises(TimeLimitExceededError) as caught:
        client.get("o-1")
    frames = []
    link = caught.value.__traceback__
    while link:
        frames.append(repr(link.tb_frame.f_locals) if "/tests/" not in link.tb_frame.f_code.co_filename else "")
        link = link.tb_next
    assert not [frame for frame in frames for token in bronto.good_tokens if token in frame]
    monkeypatch.undo()
    assert client.get("o-1") == ORDER


def test_a_whole_run_logs_no_secrets(bronto, make_client, shared_cache, caplog):
    caplog.set_level(logging.DEBUG)
    client = make_client(token_store=CacheTokenStore())
    client.get("o-1")
    bronto.revoke()
    client.get("o-1")
    assert "New access token" in caplog.text
    secrets = {SECRET, *bronto.good_tokens, *bronto.good_refresh_tokens}
    assert not [secret for secret in secrets if secret in caplog.text]
