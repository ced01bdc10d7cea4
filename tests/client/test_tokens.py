from __future__ import annotations

import logging
import pickle
import threading
import time
import uuid

import pytest
from django.core.cache import caches
from django.test import override_settings

from bronto_orders.client import CacheTokenStore, MemoryTokenStore, Token
from bronto_orders.client.redaction import Secret
from bronto_orders.client.tokens import store_key
from tests.client.caches import BrokenCache, FrozenCache
from tests.client.stub import SECRET

TOKEN = Token(Secret("the-access-token"), Secret("the-refresh-token"), 7, 3600.0)


def cache_settings(backend: str = "django.core.cache.backends.locmem.LocMemCache"):
    return override_settings(CACHES={"default": {"BACKEND": backend, "LOCATION": uuid.uuid4().hex}})


@pytest.fixture(params=[MemoryTokenStore, CacheTokenStore], ids=["memory", "cache"])
def store(request):
    with cache_settings():
        yield request.param()


def test_a_token_is_kept(store):
    assert store.load("key") is None
    assert store.refresh_token("key") is None
    store.save("key", TOKEN)
    assert store.load("key") == TOKEN
    assert store.refresh_token("key") == "the-refresh-token"
    assert store.load("other") is None


def test_a_token_is_let_go_when_its_leeway_begins_and_its_refresh_token_stays(store, later):
    store.save("key", Token("short", "refresh", 1, 100.0))
    later(75)
    assert store.load("key") is not None
    later(10)
    assert store.load("key") is None
    assert store.refresh_token("key") == "refresh"


def test_a_later_token_without_refresh_token_replaces_both(store):
    store.save("key", TOKEN)
    store.save("key", Token("later", None, 8, 3600.0))
    assert store.load("key").access == "later"
    assert store.refresh_token("key") is None


def test_only_one_has_the_right_to_ask(store):
    assert store.acquire("key", 20)
    assert not store.acquire("key", 20)
    assert store.acquire("other", 20)
    store.release("key")
    assert store.acquire("key", 20)


def test_the_right_to_ask_lapses(store, later):
    assert store.acquire("key", 20)
    later(21)
    assert store.acquire("key", 20)


def test_a_lapsed_right_is_not_given_back_for_another():
    with cache_settings():
        slow, quick = CacheTokenStore(), CacheTokenStore()
        slow.acquire("key", 1)
        caches["default"].delete("key.lock")
        quick.acquire("key", 20)
        slow.release("key")
        assert not slow.acquire("key", 20)


def test_stores_on_the_same_cache_share():
    with cache_settings():
        CacheTokenStore().save("key", TOKEN)
        assert CacheTokenStore().load("key") == TOKEN


def test_the_cache_gets_plain_values():
    with cache_settings():
        CacheTokenStore().save("key", TOKEN)
        for name in ("key.access", "key.refresh"):
            assert b"bronto" not in pickle.dumps(caches["default"].get(name))


@pytest.mark.parametrize(
    "entry",
    [
        "text",
        7,
        None,
        [],
        {},
        {"access": 1, "generation": 1, "lifetime": 1},
        {"access": "a", "generation": "1", "lifetime": 1},
        {"access": "a", "generation": 1, "lifetime": None},
    ],
)
def test_what_else_stands_in_the_cache_is_no_token(entry):
    with cache_settings():
        caches["default"].set_many({"key.access": entry, "key.refresh": entry})
        assert CacheTokenStore().load("key") is None
        assert CacheTokenStore().refresh_token("key") in {None, "text"}


def use_all(store: CacheTokenStore) -> None:
    assert store.load("key") is None
    assert store.refresh_token("key") is None
    store.save("key", TOKEN)
    assert store.acquire("key", 20)
    assert store.acquire("key", 20)
    store.release("key")


def test_a_broken_cache_is_an_empty_one_and_left_alone_for_a_while(caplog, later):
    BrokenCache.calls = 0
    with cache_settings("tests.client.caches.BrokenCache"):
        store = CacheTokenStore()
        use_all(store)
        assert BrokenCache.calls == 1
        later(31)
        use_all(store)
        assert BrokenCache.calls == 2
    assert [record.getMessage() for record in caplog.records] == [
        "The cache 'default' keeps no access tokens now: ConnectionError"
    ] * 2
    assert SECRET not in caplog.text


def test_a_frozen_cache_costs_its_patience_once(caplog):
    FrozenCache.calls = 0
    FrozenCache.thawed.clear()
    with cache_settings("tests.client.caches.FrozenCache"):
        store = CacheTokenStore(patience=0.1)
        began = time.monotonic()
        use_all(store)
        assert time.monotonic() - began < 0.5
        store._resting_until = 0.0
        use_all(store)
        assert FrozenCache.calls == 1
        FrozenCache.thawed.set()
    assert "no answer in time" in caplog.text


def test_no_thread_for_the_cache(caplog, monkeypatch):
    def refuse(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with cache_settings():
        use_all(CacheTokenStore())
    assert "no thread can be started" in caplog.text


def test_a_cache_that_is_not_configured(caplog):
    with cache_settings():
        use_all(CacheTokenStore("elsewhere"))
    assert "InvalidCacheBackendError" in caplog.text


def test_keys_tell_nothing_and_differ():
    keys = {store_key(url, name, secret) for url in "ab" for name in "cd" for secret in ("ef", SECRET)}
    assert len(keys) == 8
    assert not any(SECRET in key or " " in key or len(key) > 100 for key in keys)
    assert store_key("a", "b", "c") == store_key("a", "b", "c")


def test_a_token_does_not_show_itself(caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("x").info("%s %r %s", TOKEN, [TOKEN], {"t": TOKEN.access})
    for text in (repr(TOKEN), str(TOKEN), f"{TOKEN}", caplog.text):
        assert "the-access-token" not in text
        assert "the-refresh-token" not in text


@pytest.mark.parametrize(("lifetime", "leeway"), [(3600, 60), (300, 60), (100, 20), (5, 1)])
def test_leeway(lifetime, leeway):
    assert Token("a", None, 1, lifetime).leeway == leeway
