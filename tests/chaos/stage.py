"""What a campaign is played on: servers, proxies before them, workers, and where each of them finds the others."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from demo_project.broker import transport_options
from tests.chaos.processes import HOST, Process, wait_for
from tests.chaos.proxy import Proxies, Proxy
from tests.chaos.servers import MariaDB, PortMapper, PostgreSQL, RabbitMQ, Redis, Sandbox, Server, find_program
from tests.settings import SERVERS

ServerType = TypeVar("ServerType", bound=Server)

WORKERS = 3
#: Seconds after which a worker that has ended is started again, as a supervisor would.
RESTART_SECONDS = 0.5


class FolderBroker:
    """The broker that needs no server."""

    server: Server | None = None
    proxy: Proxy | None = None

    def __init__(self, stage: Stage) -> None:
        self.folder = stage.folder / "broker"
        self.url = "folder://localhost"
        self.options = transport_options(self.url, self.folder)

    def flush(self) -> None:
        """Lose all messages."""
        for message in (self.folder / "messages").glob("*.msg"):
            with suppress(FileNotFoundError):
                message.unlink()


class RedisBroker:
    def __init__(self, stage: Stage) -> None:
        self.server: Server | None = stage.launch(Redis(stage.folder))
        self.proxy: Proxy | None = stage.proxies.to(self.server.port)
        self.url = f"redis://{HOST}:{self.proxy.port}/0"
        self.options = transport_options(self.url, stage.folder)

    def flush(self) -> None:
        """Lose all messages."""
        import redis

        assert self.server is not None
        with closing(redis.Redis(HOST, self.server.port, socket_timeout=5)) as client:
            client.flushall()


class RabbitMQBroker:
    def __init__(self, stage: Stage) -> None:
        self.server: Server | None = stage.launch(RabbitMQ(stage.folder, stage.launch(PortMapper(stage.folder))))
        self.proxy: Proxy | None = stage.proxies.to(self.server.port)
        self.url = f"amqp://guest:guest@{HOST}:{self.proxy.port}//"
        self.options = transport_options(self.url, stage.folder)

    def flush(self) -> None:
        """Lose all messages that no worker has yet."""
        import amqp

        assert self.server is not None
        place = f"{HOST}:{self.server.port}"
        connection = amqp.Connection(place, connect_timeout=5, read_timeout=5, write_timeout=5)
        # There may be no queue yet.
        with connection, suppress(amqp.NotFound):
            connection.channel().queue_purge("celery")


class SQLiteDatabase:
    """A file, which has one writer at a time."""

    proxies: tuple[Proxy, ...] = ()
    server: Server | None = None

    def __init__(self, stage: Stage) -> None:
        self.file = stage.folder / "shop.sqlite3"
        self.settings = {**SERVERS["sqlite"], "NAME": str(self.file)}
        self.for_workers = self.for_shop = self.settings

    def hold(self, seconds: float) -> None:
        """Keep all others from writing."""
        with closing(sqlite3.connect(self.file, isolation_level=None, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")


class PostgreSQLDatabase:
    """A server, with a proxy before it for the workers and one for the shop."""

    def __init__(self, stage: Stage) -> None:
        self.server: Server | None = stage.launch(PostgreSQL(stage.folder))
        self.proxies = tuple(stage.proxies.to(self.server.port) for _ in range(2))
        self.settings = {**SERVERS["postgresql"], "NAME": "postgres", "PORT": self.server.port}
        self.for_workers, self.for_shop = ({**self.settings, "PORT": proxy.port} for proxy in self.proxies)


class MariaDBDatabase:
    """Another server, with proxies like it."""

    def __init__(self, stage: Stage) -> None:
        server = stage.launch(MariaDB(stage.folder))
        self.server: Server | None = server
        self.proxies = tuple(stage.proxies.to(server.port) for _ in range(2))
        self.settings = {**SERVERS["mariadb"], "NAME": server.database, "PORT": server.port}
        self.for_workers, self.for_shop = ({**self.settings, "PORT": proxy.port} for proxy in self.proxies)


Broker = FolderBroker | RedisBroker | RabbitMQBroker
Database = SQLiteDatabase | PostgreSQLDatabase | MariaDBDatabase


@dataclass(frozen=True)
class Combination:
    """A broker and a database that go together."""

    name: str
    broker: type[Broker]
    database: type[Database]
    #: Programs without which it cannot be played, and Python packages.
    programs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Return what of that this machine lacks."""
        programs = [name for name in self.programs if find_program(name) is None]
        return programs + [name for name in self.packages if importlib.util.find_spec(name) is None]


COMBINATIONS = {
    combination.name: combination
    for combination in (
        Combination(
            "redis-postgresql",
            RedisBroker,
            PostgreSQLDatabase,
            programs=("redis-server", "postgres", "initdb"),
            packages=("redis", "psycopg"),
        ),
        Combination(
            "redis-mariadb",
            RedisBroker,
            MariaDBDatabase,
            programs=("redis-server", "mariadbd", "mariadb-install-db"),
            packages=("redis", "MySQLdb"),
        ),
        Combination(
            "rabbitmq-postgresql",
            RabbitMQBroker,
            PostgreSQLDatabase,
            programs=("rabbitmq-server", "epmd", "postgres", "initdb"),
            packages=("amqp", "psycopg"),
        ),
        Combination("embedded", FolderBroker, SQLiteDatabase),
    )
}


@dataclass
class Workers:
    """Celery workers, each with a beat, and a supervisor that starts again whichever has ended."""

    folder: Path
    environment: dict[str, str]
    processes: list[Process] = field(default_factory=list)
    #: How often a worker ended that nobody had told to, by its exit code.
    deaths: Counter[str] = field(default_factory=Counter)
    _expected: set[int] = field(default_factory=set)
    _starts: int = 0
    _ending: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        for number in range(WORKERS):
            self.processes.append(Process(f"worker{number}", [], self.folder, environment=self.environment))
            self._start(number)
        for process in self.processes:
            wait_for(f"{process.name} is ready", lambda process=process: " ready." in process.tail(100_000), 60)
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._supervisor.start()

    def end(self, number: int) -> Process:
        """Return a worker to somebody who is about to end it."""
        self._expected.add(number)
        return self.processes[number]

    def stop(self) -> None:
        self._ending.set()
        if self.processes:
            self._supervisor.join()
        for process in self.processes:
            process.signal(signal.SIGCONT)
            process.signal_parent(signal.SIGTERM)
        for process in self.processes:
            process.stop()

    def _start(self, number: int) -> None:
        self._starts += 1
        # A beat that was killed may leave a schedule that the next one cannot read.
        schedule = self.folder / f"schedule{self._starts}"
        process = self.processes[number]
        process.command = [
            *(sys.executable, "-m", "celery", "-A", "tests.chaos.celery_app", "worker", "--pool", "prefork", "-c", "2"),
            *("-B", "-s", str(schedule), "-l", "INFO", "-n", f"{process.name}@%h"),
        ]
        process.start()

    def _supervise(self) -> None:
        while not self._ending.wait(RESTART_SECONDS):
            for number, process in enumerate(self.processes):
                if not process.running:
                    if number in self._expected:
                        self._expected.discard(number)
                    else:
                        self.deaths[f"exit code {process.exit_code}"] += 1
                    # Children that it left are gone with it, or the campaign would never know how many it plays with.
                    process.kill()
                    self._start(number)


class Stage:
    """All of it, as a context manager. What it started ends with it."""

    def __init__(self, combination: Combination, folder: Path) -> None:
        self.combination = combination
        self.folder = folder
        self._ends = ExitStack()

    def __enter__(self) -> Stage:
        with self._ends:
            self.proxies = self._ends.enter_context(Proxies())
            self.sandbox = self.launch(Sandbox(self.folder))
            self.sandbox_url = f"http://{HOST}:{self.sandbox.port}"
            self.api = self.proxies.to(self.sandbox.port)
            self.broker = self.combination.broker(self)
            self.database = self.combination.database(self)
            self.workers = Workers(self.folder, self.environment(self.database.for_workers))
            self._ends.callback(self.workers.stop)
            self._ends = self._ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def launch(self, server: ServerType) -> ServerType:
        """Start a server that ends with the stage."""
        self._ends.callback(server.stop)
        server.start()
        return server

    def environment(self, database: dict[str, Any]) -> dict[str, str]:
        """Return what tells a process of the project where everything is."""
        place = {
            "database": database,
            "broker": self.broker.url,
            "transport_options": self.broker.options,
            "cache": self._cache(),
            "bronto": f"http://{HOST}:{self.api.port}",
        }
        return {"DJANGO_SETTINGS_MODULE": "tests.chaos.settings", "BRONTO_CHAOS_PLACE": json.dumps(place)}

    def _cache(self) -> dict[str, Any]:
        """Return the cache through which workers share their token: the broker's Redis, if it is one."""
        if self.broker.url.startswith("redis:"):
            return {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": self.broker.url.removesuffix("/0") + "/1",
            }
        return {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(self.folder / "cache"),
        }

    def remove(self) -> None:
        """Forget all that was kept on disk."""
        shutil.rmtree(self.folder, ignore_errors=True)
