from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import time
import uuid
import warnings

import pytest
import requests
from django.core.cache import cache
from django.test import override_settings

from bronto_orders.client import BrontoClient, CacheTokenStore, MemoryTokenStore, Token
from bronto_orders.client.auth import ClientCredentials, token_in
from bronto_orders.client.tokens import store_key
from bronto_orders.client.transport import Answer, Transport
from bronto_orders.exceptions import (
    AuthenticationError,
    BrontoError,
    FateUnknownError,
    TokenRefusedError,
    TokenUnavailableError,
)
from tests.client.caches import FrozenCache
from tests.client.conftest import in_threads
from tests.client.stub import SECRET, reply
from tests.services import need

ORDER = {"orderId": "o-1"}


def token_answer(body: bytes, status: int = 200) -> Answer:
    return Answer(status, "", {}, body)


def test_the_first_call_asks_for_a_token_and_the_next_ones_use_it(bronto, client):
    for _ in range(3):
        assert client.get("o-1") == ORDER
    (request,) = bronto.token_requests
    assert request.form == {"grant_type": "client_credentials", "client_id": "the-shop", "client_secret": SECRET}
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["accept"] == "application/json"
    assert "authorization" not in request.headers
    (token,) = bronto.good_tokens
    assert [request.headers["authorization"] for request in bronto.order_requests] == [f"Bearer {token}"] * 3


def test_credentials_are_encoded(bronto):
    with BrontoClient("a&b=c", "ä %&+", api_url=bronto.url, token_url=bronto.token_url) as client:
        client.get("o-1")
    form = bronto.token_requests[0].form
    assert (form["client_id"], form["client_secret"]) == ("a&b=c", "ä %&+")


def test_a_hundred_threads_ask_for_one_token(bronto, client):
    bronto.token_delay = 0.1
    assert in_threads(100, lambda _: client.get("o-1")) == [ORDER] * 100
    assert len(bronto.token_requests) == 1


def test_a_token_revoked_in_mid_run_is_renewed_once(bronto, make_client):
    client = make_client(pool_size=32)
    client.get("o-1")

    def run(index: int) -> int:
        for turn in range(10):
            if (index, turn) == (0, 5):
                bronto.revoke()
            assert client.get("o-1") == ORDER
        return 10

    assert in_threads(32, run) == [10] * 32
    assert bronto.grants == ["client_credentials", "refresh_token"]
    assert 1 <= bronto.refusals <= 32
    assert len(bronto.order_requests) == 321 + bronto.refusals


def test_a_refused_request_is_repeated_unchanged(bronto, client):
    client.get("o-1")
    bronto.revoke()
    client.add(b'{"a": 1}')
    refused, repeated = bronto.order_requests[-2:]
    assert (refused.method, refused.target, refused.body) == (repeated.method, repeated.target, repeated.body)
    assert refused.headers.pop("authorization") != repeated.headers.pop("authorization")
    assert refused.headers == repeated.headers


def test_a_repeat_that_gets_no_answer_leaves_the_fate_unknown(bronto, client):
    client.get("o-1")
    bronto.revoke()
    bronto.orders = lambda request, connection: None
    with pytest.raises(FateUnknownError) as caught:
        client.add({})
    assert type(caught.value) is FateUnknownError


def test_a_token_looked_up_again_meanwhile_is_still_the_refused_one(bronto, make_client, later):
    store = MemoryTokenStore()
    client = make_client(token_store=store, total_timeout=100)
    store.save(store_key(bronto.token_url, "the-shop", SECRET), Token("shared", None, 1, 3600))
    bronto.good_tokens["shared"] = time.monotonic() + 1000
    arrived, go_on = threading.Event(), threading.Event()

    def orders(request, connection):
        if "slow" not in request.target or "shared" not in request.headers["authorization"]:
            return reply(200, ORDER)
        arrived.set()
        go_on.wait(5)
        return reply(403)

    bronto.orders = orders

    def work(index: int) -> object:
        if index == 0:
            return client.get("slow")
        arrived.wait(5)
        later(31)
        client.get("fast")
        return go_on.set()

    assert in_threads(2, work) == [ORDER, None]
    assert len(bronto.token_requests) == 1


def test_refresh_tokens_rotate(bronto, client):
    for _ in range(4):
        client.get("o-1")
        bronto.revoke()
    assert bronto.grants == ["client_credentials", "refresh_token", "refresh_token", "refresh_token"]
    tokens = [request.form.get("refresh_token") for request in bronto.token_requests]
    assert len(set(tokens)) == 4
    refresh = bronto.token_requests[1].form
    assert (refresh["client_id"], refresh["client_secret"]) == ("the-shop", SECRET)


def test_when_the_refresh_token_is_refused_the_credentials_serve(bronto, client):
    client.get("o-1")
    bronto.revoke()
    bronto.refuse_refresh = True
    assert client.get("o-1") == ORDER
    assert bronto.grants == ["client_credentials", "refresh_token", "client_credentials"]


def test_when_the_token_endpoint_is_down_no_second_grant_is_tried(bronto, client):
    client.get("o-1")
    bronto.revoke()
    bronto.token_status = 503
    with pytest.raises(TokenUnavailableError):
        client.get("o-1")
    assert bronto.grants == ["client_credentials", "refresh_token"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_second_refusal_is_final(bronto, client, status):
    bronto.orders = lambda request, connection: reply(status, b"", {"X-Reason": "scope"})
    with pytest.raises(AuthenticationError) as caught:
        client.get("o-1")
    assert (caught.value.status, caught.value.reason) == (status, "scope")
    # The very first token may have been revoked, too: a new one decides.
    assert bronto.grants == ["client_credentials", "refresh_token"]


def test_the_very_first_token_may_be_revoked(bronto, client):
    bronto.orders = lambda request, connection: (bronto.revoke(), setattr(bronto, "orders", None), reply(403))[-1]
    assert client.get("o-1") == ORDER
    assert bronto.grants == ["client_credentials", "refresh_token"]


def test_a_lacking_scope_makes_no_storm_of_token_requests(bronto, client):
    client.get("o-1")
    bronto.orders = lambda request, connection: reply(403)

    def run(_: int) -> int:
        for _turn in range(5):
            with pytest.raises(AuthenticationError):
                client.get("o-1")
        return 5

    assert in_threads(16, run) == [5] * 16
    assert len(bronto.token_requests) == 2


def test_a_scope_granted_later_is_found_with_a_new_token(bronto, client, later):
    bronto.orders = lambda request, connection: reply(403)
    with pytest.raises(AuthenticationError):
        client.get("o-1")
    bronto.orders = None
    bronto.revoke()
    with pytest.raises(AuthenticationError):
        client.get("o-1")
    later(31)
    assert client.get("o-1") == ORDER


@pytest.mark.parametrize("status", [400, 401, 403])
def test_refused_credentials(bronto, client, status):
    bronto.token_status = status
    with pytest.raises(TokenRefusedError) as caught:
        client.add({})
    assert str(caught.value).endswith(f"(HTTP {status}, invalid_client)")
    assert bronto.order_requests == []


@pytest.mark.parametrize("status", [201, 204, 302, 404, 408, 429, 500, 503])
def test_other_answers_of_the_token_endpoint(bronto, client, status):
    bronto.token_status = status
    with pytest.raises(TokenUnavailableError) as caught:
        client.add({})
    assert f"(HTTP {status})" in str(caught.value)
    assert bronto.order_requests == []


def test_a_token_endpoint_that_cannot_be_reached(bronto, make_client):
    client = make_client(token_url="http://127.0.0.1:9/oauth2/token")
    with pytest.raises(TokenUnavailableError) as caught:
        client.add({})
    assert "ConnectionRefusedError" in str(caught.value)


def test_a_token_endpoint_that_takes_too_long(bronto, make_client):
    bronto.token_delay = 2
    client = make_client(total_timeout=0.3)
    began = time.monotonic()
    results = in_threads(4, lambda _: client.add({}))
    assert time.monotonic() - began < 1.5
    assert {type(result) for result in results} == {TokenUnavailableError}
    assert bronto.order_requests == []


def test_waiting_for_another_thread_ends_with_the_deadline(bronto, make_client):
    client = make_client(total_timeout=0.2)
    with client._auth._states.get().lock, pytest.raises(TokenUnavailableError) as caught:
        client.get("o-1")
    assert "another thread" in str(caught.value)
    assert bronto.server.received == []


def test_a_token_request_leaves_the_order_its_share_of_the_deadline_only(bronto, make_client):
    bronto.token_delay = 0.3
    bronto.orders = lambda request, connection: bronto.server.stopping.wait(2) and None
    client = make_client(total_timeout=0.6)
    began = time.monotonic()
    with pytest.raises(BrontoError):
        client.add({})
    assert time.monotonic() - began < 0.9


def test_those_who_wait_for_a_failure_share_it(bronto, client):
    bronto.token_status, bronto.token_delay = 500, 0.3
    results = in_threads(20, lambda _: client.add({}))
    assert {type(result) for result in results} == {TokenUnavailableError}
    assert len(bronto.token_requests) == 1


def test_after_a_failure_the_next_call_asks_again(bronto, client):
    bronto.token_status = 500
    with pytest.raises(TokenUnavailableError):
        client.get("o-1")
    bronto.token_status = 200
    assert client.get("o-1") == ORDER


def test_a_token_is_renewed_before_it_ends(bronto, client, later):
    client.get("o-1")
    later(3530)
    client.get("o-1")
    assert len(bronto.token_requests) == 1
    later(20)
    client.get("o-1")
    assert bronto.grants == ["client_credentials", "refresh_token"]
    assert bronto.refusals == 0


def test_short_lived_tokens_are_never_used_too_long(bronto, client):
    bronto.expires_in = 0.5

    def run(index: int) -> int:
        ends, calls = time.monotonic() + 1.5, 0
        while time.monotonic() < ends:
            client.get("o-1")
            calls += 1
        return calls

    assert all(calls > 5 for calls in in_threads(4, run))
    assert bronto.refusals == 0
    assert 3 <= len(bronto.token_requests) <= 6


def test_the_old_token_serves_while_a_new_one_cannot_be_had(bronto, client, later, caplog):
    client.get("o-1")
    later(3550)
    bronto.token_status = 503
    for _ in range(3):
        assert client.get("o-1") == ORDER
    assert len(bronto.token_requests) == 2
    assert "the old one serves on" in caplog.text
    later(6)
    client.get("o-1")
    assert len(bronto.token_requests) == 3
    later(60)
    with pytest.raises(TokenUnavailableError):
        client.get("o-1")


def test_the_old_token_serves_while_another_thread_gets_a_new_one(bronto, client, later):
    client.get("o-1")
    later(3550)
    bronto.token_delay = 0.5

    def timed(_: int) -> float:
        began = time.perf_counter()
        client.get("o-1")
        return time.perf_counter() - began

    seconds = sorted(in_threads(8, timed))
    assert seconds[6] < 0.4 < seconds[7]
    assert len(bronto.token_requests) == 2


def test_workers_share_a_token(bronto, make_client, shared_cache):
    workers = [make_client(token_store=CacheTokenStore()) for _ in range(8)]
    bronto.token_delay = 0.2
    assert in_threads(8, lambda index: workers[index].get("o-1")) == [ORDER] * 8
    assert len(bronto.token_requests) == 1


@pytest.fixture
def redis_cache():
    """A cache that processes share, with names of this test's own."""
    need("redis-server", "redis")
    from redis import Redis

    address, prefix = "redis://127.0.0.1:6379/13", uuid.uuid4().hex
    yield {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": address, "KEY_PREFIX": prefix}
    with Redis.from_url(address) as redis:
        for key in redis.scan_iter(f"{prefix}*"):
            redis.delete(key)


@pytest.mark.services
@pytest.mark.slow
def test_the_threads_of_several_processes_ask_for_one_token(bronto, redis_cache):
    processes, threads = 4, 8
    script = f"""
        from concurrent.futures import ThreadPoolExecutor
        from django.conf import settings
        settings.configure(CACHES={{"default": {redis_cache!r}}})
        from bronto_orders.client import BrontoClient, CacheTokenStore
        client = BrontoClient("the-shop", {SECRET!r}, api_url={bronto.url!r}, token_url={bronto.token_url!r},
                              total_timeout=20, token_store=CacheTokenStore(patience=5))
        with client, ThreadPoolExecutor({threads}) as pool:
            for _ in range(2):
                input("ready\\n")
                print(len(list(pool.map(lambda _: client.get("o-1"), range({threads})))))
    """
    bronto.token_delay = 0.5
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-u", "-c", textwrap.dedent(script)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(processes)
        ]
        for grants in (["client_credentials"], ["client_credentials", "refresh_token"]):
            for child in children:
                assert child.stdout.readline() == "ready\n"
            for child in children:
                child.stdin.write("\n")
                child.stdin.flush()
            assert [child.stdout.readline() for child in children] == [f"{threads}\n"] * processes
            assert bronto.grants == grants
            bronto.revoke()


def test_one_worker_renews_for_all(bronto, make_client, shared_cache):
    workers = [make_client(token_store=CacheTokenStore()) for _ in range(8)]
    for worker in workers:
        worker.get("o-1")
    bronto.revoke()
    assert in_threads(8, lambda index: workers[index].get("o-1")) == [ORDER] * 8
    assert bronto.grants == ["client_credentials", "refresh_token"]


def test_a_worker_finds_the_newer_token_of_another(bronto, make_client, shared_cache, later):
    one, other = (make_client(token_store=CacheTokenStore()) for _ in range(2))
    one.get("o-1")
    other.get("o-1")
    bronto.revoke()
    one.get("o-1")
    assert bronto.refusals == 1
    later(31)
    other.get("o-1")
    assert bronto.refusals == 1
    assert len(bronto.token_requests) == 2


def test_a_newer_token_of_another_that_is_revoked_as_well_is_renewed(bronto, make_client, shared_cache, later):
    one, other = (make_client(token_store=CacheTokenStore()) for _ in range(2))
    one.get("o-1")
    cache.clear()
    later(2)
    other.get("o-1")
    bronto.revoke()
    one.get("o-1")
    assert bronto.refusals == 2
    assert len(bronto.token_requests) == 3


def test_a_shared_token_that_has_run_out_is_renewed_by_its_refresh_token(bronto, make_client, shared_cache, later):
    make_client(token_store=CacheTokenStore()).get("o-1")
    later(3550)
    make_client(token_store=CacheTokenStore()).get("o-1")
    assert bronto.grants == ["client_credentials", "refresh_token"]


def test_a_worker_waits_for_the_token_that_another_asks_for(bronto, make_client):
    store = MemoryTokenStore()
    client = make_client(token_store=store)
    key = store_key(bronto.token_url, "the-shop", SECRET)
    store.acquire(key, 20)
    bronto.good_tokens["from-the-other"] = time.monotonic() + 60

    def work(index: int) -> object:
        if index == 0:
            time.sleep(0.3)
            return store.save(key, Token("from-the-other", None, 1, 3600))
        return client.get("o-1")

    assert in_threads(3, work) == [None, ORDER, ORDER]
    assert bronto.token_requests == []


def test_a_worker_that_died_with_the_lock_does_not_stop_the_others(bronto, make_client):
    store = MemoryTokenStore()
    client = make_client(token_store=store, total_timeout=0.8)
    store.acquire(store_key(bronto.token_url, "the-shop", SECRET), 20)
    assert client.get("o-1") == ORDER
    assert len(bronto.token_requests) == 1


def test_an_older_stored_token_is_not_taken_back(bronto, make_client):
    store = MemoryTokenStore()
    client = make_client(token_store=store)
    client.get("o-1")
    key = store_key(bronto.token_url, "the-shop", SECRET)
    store.save(key, Token("stale", None, 1, 3600))
    bronto.revoke()
    assert client.get("o-1") == ORDER
    assert bronto.refusals == 1


@pytest.mark.parametrize("cache", ["BrokenCache", "FrozenCache"])
def test_a_cache_out_of_order_stops_nothing(bronto, make_client, cache, caplog):
    FrozenCache.thawed.clear()
    with override_settings(CACHES={"default": {"BACKEND": f"tests.client.caches.{cache}"}}):
        client = make_client(token_store=CacheTokenStore(patience=0.1))
        for _ in range(2):
            assert client.get("o-1") == ORDER
            bronto.revoke()
        assert client.get("o-1") == ORDER
        FrozenCache.thawed.set()
    assert bronto.grants == ["client_credentials", "refresh_token", "refresh_token"]
    assert SECRET not in caplog.text


def test_a_forked_child_gets_its_own_token(bronto, client):
    client.get("o-1")
    with warnings.catch_warnings():
        # Python warns of forking with threads about: just what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os._exit(0 if client.get("o-1") == ORDER else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert len(bronto.token_requests) == 2


def test_it_serves_any_session_of_requests(bronto):
    with contextlib.closing(Transport()) as transport, requests.Session() as session:
        session.auth = ClientCredentials("the-shop", SECRET, token_url=bronto.token_url, transport=transport)
        assert session.get(f"{bronto.url}/orders/o-1", timeout=5).json() == ORDER
        bronto.revoke()
        assert session.get(f"{bronto.url}/orders/o-1", timeout=5).json() == ORDER
    assert len(bronto.token_requests) == 2


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (b"3600", 3600),
        (b"5", 5),
        (b"0.5", 0.5),
        (b'"1800"', 1800),
        (b"null", 3600),
        (b'"soon"', 3600),
        (b"0", 3600),
        (b"-1", 3600),
        (b"1e400", 3600),
        (b"true", 3600),
        (b"[]", 3600),
        (b'"nan"', 3600),
    ],
)
def test_lifetimes(expires_in, lifetime):
    token = token_in(token_answer(b'{"access_token": "a", "expires_in": %s}' % expires_in), generation=1)
    assert token == Token("a", None, 1, lifetime)


def test_a_token_without_lifetime():
    token = token_in(token_answer(b'{"access_token": "a", "refresh_token": "r"}'), generation=3)
    assert token == Token("a", "r", 3, 3600.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"access_token": null}',
        b'{"access_token": 7}',
        b'{"access_token": ""}',
        b'{"access_token": "a b"}',
        b'{"access_token": "a\\r\\nX-Evil: 1"}',
        b'{"access_token": "\\u00e4"}',
        b'{"access_token": "%s"}' % (b"a" * 5000),
        b"[" * 100_000,
        b'{"access_token": "a", "expires_in": 1e99999999999999999999}',
    ],
)
def test_answers_without_a_usable_token(body):
    assert token_in(token_answer(body), generation=1) is None
    assert token_in(token_answer(b'{"access_token": "a"}', status=201), generation=1) is None
