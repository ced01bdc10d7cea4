"""The monkey: breaks one thing after another, by a plan that its seed decides, and makes all of it good in the end.

Each part of the stage has a lane of its own, and lanes run side by side. A lane plays its tricks like a shuffled deck
of cards, so that none is left out for long. What is held back on its way to Bronto is held for less than
SETTLE_SECONDS in all, because that is what the promise rests on.
"""

from __future__ import annotations

import random
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from bronto_orders.testing import Sandbox
from tests.chaos.proxy import Proxy
from tests.chaos.servers import Server
from tests.chaos.settings import READ_TIMEOUT, SETTLE_SECONDS
from tests.chaos.settings import UPDATE_LEASE_SECONDS as LEASE_SECONDS
from tests.chaos.stage import WORKERS, FolderBroker, Stage

#: The longest that a request is held back by the sandbox, and by the proxy before it.
LATEST_IN_SANDBOX = 3.0
LATEST_IN_PROXY = 0.7
assert LATEST_IN_SANDBOX + LATEST_IN_PROXY + 1.2 < SETTLE_SECONDS

Wait = Callable[[float], None]


@dataclass(frozen=True)
class Trick:
    """One way to break something, for a time between ``shortest`` and ``longest`` seconds, and to make it good."""

    name: str
    play: Callable[[float, random.Random, Wait], object]
    shortest: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True)
class Lane:
    """The tricks on one part of the stage, with pauses of so many seconds between."""

    name: str
    tricks: list[Trick]
    shortest_pause: float
    longest_pause: float

    def plan(self, seed: int) -> Iterator[tuple[float, Trick, float, random.Random]]:
        """Yield for ever what to do: after how long, which trick, for how long, and the chance that it may use."""
        chance = random.Random(f"{seed}/{self.name}")
        while True:
            for trick in chance.sample(self.tricks, len(self.tricks)):
                pause = chance.uniform(self.shortest_pause, self.longest_pause)
                seconds = chance.uniform(trick.shortest, trick.longest)
                yield pause, trick, seconds, random.Random(chance.random())


class Monkey:
    """Plays all lanes until it is told to stop."""

    def __init__(self, stage: Stage, seed: int, *, lanes: list[Lane]) -> None:
        self.stage = stage
        self.seed = seed
        self.played: Counter[str] = Counter()
        self.trouble: list[str] = []
        self.diary: list[str] = []
        self._started = time.monotonic()
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._play, args=(lane,), name=lane.name, daemon=True) for lane in lanes
        ]

    def start(self) -> None:
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each lane end its trick, which makes good what it broke."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _play(self, lane: Lane) -> None:
        for pause, trick, seconds, chance in lane.plan(self.seed):
            if self._ending.wait(pause):
                return
            self._note(f"{lane.name}: {trick.name} for {seconds:.1f} s")
            self.played[f"{lane.name}: {trick.name}"] += 1
            try:
                trick.play(seconds, chance, self._wait)
            except Exception:
                self.trouble.append(f"{lane.name}: {trick.name}\n{traceback.format_exc()}")

    def _wait(self, seconds: float) -> None:
        self._ending.wait(seconds)

    def _note(self, text: str) -> None:
        self.diary.append(f"{time.strftime('%H:%M:%S')} {time.monotonic() - self._started:6.1f} {text}")


def lanes(stage: Stage, sandbox: Sandbox) -> list[Lane]:
    """Return what can be broken on this stage."""
    found = [
        Lane("worker", list(_worker_tricks(stage)), 1.0, 4.0),
        Lane("sleeper", list(_sleeper_tricks(stage)), 1.0, 3.0),
        Lane("service", list(_service_tricks(sandbox)), 0.2, 1.5),
        Lane("network", list(_network_tricks(stage)), 2.0, 6.0),
        Lane("broker", list(_broker_tricks(stage)), 2.0, 6.0),
        Lane("database", list(_database_tricks(stage)), 2.0, 6.0),
    ]
    return [lane for lane in found if lane.tricks]


# Workers


def _worker_tricks(stage: Stage) -> Iterator[Trick]:
    workers = stage.workers

    def kill(_: float, chance: random.Random, __: Wait) -> None:
        workers.end(chance.randrange(WORKERS)).signal(signal.SIGKILL)

    def kill_parent(_: float, chance: random.Random, __: Wait) -> None:
        workers.end(chance.randrange(WORKERS)).signal_parent(signal.SIGKILL)

    def kill_child(_: float, chance: random.Random, __: Wait) -> None:
        for child in _child(stage, chance):
            child.kill()

    def ask(_: float, chance: random.Random, __: Wait) -> None:
        workers.end(chance.randrange(WORKERS)).signal_parent(signal.SIGTERM)

    def freeze(seconds: float, chance: random.Random, wait: Wait) -> None:
        process = chance.choice(workers.processes)
        process.signal(signal.SIGSTOP)
        try:
            wait(seconds)
        finally:
            process.signal(signal.SIGCONT)

    yield Trick("killed", kill)
    yield Trick("killed", kill)
    yield Trick("its parent killed", kill_parent)
    yield Trick("a child killed", kill_child)
    yield Trick("asked to end", ask)
    yield Trick("stopped and continued", freeze, 0.5, 4)


def _sleeper_tricks(stage: Stage) -> Iterator[Trick]:
    """A process that sleeps for longer than its leases wakes up with answers, and requests, that are out of date."""

    def freeze_child(seconds: float, chance: random.Random, wait: Wait) -> None:
        for child in _child(stage, chance):
            child.suspend()
            try:
                wait(seconds)
            finally:
                with suppress(psutil.NoSuchProcess):
                    child.resume()

    yield Trick("a child stopped for longer than a lease", freeze_child, LEASE_SECONDS + 0.5, LEASE_SECONDS + 2)


def _child(stage: Stage, chance: random.Random) -> Iterator[psutil.Process]:
    """Yield a child of a worker, unless there is none just now."""
    popen = chance.choice(stage.workers.processes).popen
    assert popen is not None
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(popen.pid).children()
        if children:
            yield chance.choice(children)


# What the service answers

_ORDERS = {"path": "/orders"}
_WRITES = {"path": "/orders", "method": "POST"}
_TOKEN = {"path": "/oauth2"}
_AFTER = {"apply": "after"}

#: What may become of a call; each strikes a share of the calls.
_FAULTS: dict[str, dict[str, Any]] = {
    "500": {"match": _ORDERS, "status": 500},
    "500 after the write": {"match": _WRITES, "status": 500, **_AFTER},
    "502 after the write": {"match": _WRITES, "status": 502, **_AFTER},
    "503": {"match": _ORDERS, "status": 503},
    "504": {"match": _WRITES, "status": 504},
    "429": {"match": _ORDERS, "status": 429, "headers": {"Retry-After": "1"}},
    "closed before the write": {"match": _WRITES, "drop": True},
    "closed after the write": {"match": _WRITES, "drop": True, **_AFTER},
    "reset before the write": {"match": _WRITES, "reset": True},
    "reset after the write": {"match": _WRITES, "reset": True, **_AFTER},
    "half an answer": {"match": _ORDERS, "truncate": True},
    "never lands": {"match": _WRITES, "timeout": True},
    "lands, no answer": {"match": _WRITES, "timeout": True, **_AFTER},
    "lands late": {"match": _WRITES, "latency": READ_TIMEOUT, "jitter": LATEST_IN_SANDBOX - READ_TIMEOUT},
    "lands, late answer": {"match": _WRITES, "latency": READ_TIMEOUT, "jitter": 0.5, **_AFTER},
    "drips": {"match": _ORDERS, "drip": 3},
    "slow": {"match": _ORDERS, "latency": 0.1, "jitter": 0.7},
    "no token": {"match": _TOKEN, "status": 503},
    "slow token": {"match": _TOKEN, "latency": 1},
}


def _service_tricks(sandbox: Sandbox) -> Iterator[Trick]:
    def bad_weather(*names: str, share: float | None = None) -> Callable[[float, random.Random, Wait], None]:
        def play(seconds: float, chance: random.Random, wait: Wait) -> None:
            shares = [chance.choice([0.03, 0.1, 0.25]) if share is None else share for _ in names]
            sandbox.set_faults(
                *(
                    {**_FAULTS[name], "probability": each, "seed": chance.randrange(10**6)}
                    for name, each in zip(names, shares, strict=True)
                )
            )
            try:
                wait(seconds)
            finally:
                sandbox.recover()

        return play

    def revoke(_: float, __: random.Random, ___: Wait) -> None:
        sandbox.revoke_tokens()

    def revoke_in_a_call(seconds: float, chance: random.Random, wait: Wait) -> None:
        sandbox.set_faults(
            {"match": _WRITES, "revokeTokens": True, "count": 1, "skip": chance.randrange(20), **_AFTER},
            {**_FAULTS["no token"], "count": 2},
        )
        try:
            wait(seconds)
        finally:
            sandbox.recover()

    for name in _FAULTS:
        yield Trick(name, bad_weather(name), 0.5, 3)
    yield Trick("everything at once", bad_weather(*_FAULTS, share=0.02), 3, 8)
    yield Trick("down", bad_weather("503", "no token", share=1.0), 0.5, 2)
    yield Trick("deaf", bad_weather("never lands", share=1.0), 0.5, 2)
    yield Trick("mute", bad_weather("lands, no answer", share=1.0), 0.5, 2)
    yield Trick("tokens revoked", revoke)
    yield Trick("tokens revoked in a call, and no new one", revoke_in_a_call, 1, 2)


# Connections


def _spoil(
    change: Callable[[Proxy, random.Random], object], *proxies: Proxy
) -> Callable[[float, random.Random, Wait], None]:
    """Return a trick that changes one of the proxies for a time."""

    def play(seconds: float, chance: random.Random, wait: Wait) -> None:
        proxy = chance.choice(proxies)
        change(proxy, chance)
        try:
            wait(seconds)
        finally:
            proxy.heal()

    return play


def _proxy_tricks(*proxies: Proxy, longest_stall: float) -> Iterator[Trick]:
    def refuse(proxy: Proxy, chance: random.Random) -> None:
        proxy.refuse()
        proxy.cut(reset=chance.random() < 0.5)

    yield Trick("connections cut", _spoil(lambda proxy, chance: proxy.cut(), *proxies))
    yield Trick("connections reset", _spoil(lambda proxy, chance: proxy.cut(reset=True), *proxies))
    yield Trick("unreachable", _spoil(refuse, *proxies), 0.5, 2)
    yield Trick("delayed", _spoil(lambda proxy, chance: proxy.delay(0.05), *proxies), 1, 3)
    yield Trick("stalled", _spoil(lambda proxy, chance: proxy.stall("up", "down"), *proxies), 0.2, longest_stall)
    yield Trick("stalled there", _spoil(lambda proxy, chance: proxy.stall("up"), *proxies), 0.2, longest_stall)
    yield Trick("stalled back", _spoil(lambda proxy, chance: proxy.stall("down"), *proxies), 0.2, longest_stall)
    yield Trick("lost there", _spoil(lambda proxy, chance: proxy.swallow("up"), *proxies), 0.2, longest_stall)
    yield Trick("lost back", _spoil(lambda proxy, chance: proxy.swallow("down"), *proxies), 0.2, longest_stall)


def _network_tricks(stage: Stage) -> Iterator[Trick]:
    yield from _proxy_tricks(stage.api, longest_stall=LATEST_IN_PROXY)


def _broker_tricks(stage: Stage) -> Iterator[Trick]:
    broker = stage.broker
    yield Trick("flushed", lambda *_: broker.flush())
    if isinstance(broker, FolderBroker):
        return
    assert broker.server is not None
    assert broker.proxy is not None
    yield from _server_tricks(broker.server, longest_freeze=4)
    yield from _proxy_tricks(broker.proxy, longest_stall=3)


def _server_tricks(server: Server, *, longest_freeze: float) -> Iterator[Trick]:
    def restart(seconds: float, _: random.Random, wait: Wait) -> None:
        server.kill()
        try:
            wait(seconds)
        finally:
            server.start()

    def freeze(seconds: float, _: random.Random, wait: Wait) -> None:
        server.freeze()
        try:
            wait(seconds)
        finally:
            server.thaw()

    yield Trick("killed and started again", restart, 0.5, 4)
    yield Trick("stopped and continued", freeze, 0.5, longest_freeze)


def _database_tricks(stage: Stage) -> Iterator[Trick]:
    database = stage.database
    if not database.proxies:
        yield Trick("held by another writer", lambda seconds, *_: database.hold(seconds), 0.2, 2)  # type: ignore[union-attr]
        return
    assert database.server is not None
    yield from _server_tricks(database.server, longest_freeze=2)
    yield from _proxy_tricks(*database.proxies, longest_stall=2)
