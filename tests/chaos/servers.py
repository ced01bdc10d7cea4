"""Servers of a campaign's own: on free ports, with their data under its folder. Nothing else is ever stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.chaos.processes import HOST, Process, ProcessError, listens, wait_for
from tests.services import free_port

#: Where Debian keeps programs that are not on the path, or has something else there: its ``rabbitmq-server`` on the
#: path changes to the folder and the user of the machine's own server.
_FOLDERS = {
    "postgres": "usr/lib/postgresql/*/bin",
    "initdb": "usr/lib/postgresql/*/bin",
    "mariadbd": "usr/sbin",
    "rabbitmq-server": "usr/lib/rabbitmq/bin",
}


def find_program(name: str) -> str | None:
    """Return the path of a program, None if it is not on this machine."""
    others = sorted(Path("/").glob(f"{_FOLDERS[name]}/{name}")) if name in _FOLDERS else []
    return str(others[-1]) if others else shutil.which(name)


def program(name: str) -> str:
    found = find_program(name)
    if found is None:
        raise ProcessError(f"{name} is needed and is not on this machine")
    return found


def other_user(name: str) -> str | None:
    """Return whom to run a server as that refuses to run as root; None where this process is not root."""
    return pwd.getpwnam(name).pw_name if os.geteuid() == 0 else None


def own_folder(parent: Path, name: str, user: str | None) -> Path:
    folder = parent / name
    folder.mkdir()
    if user:
        shutil.chown(folder, user)
    return folder


def run(command: list[str], log: Path, *, user: str | None = None, environment: dict[str, str] | None = None) -> None:
    """Run a program to its end."""
    with log.open("ab") as output:
        finished = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=user,
            extra_groups=[] if user else None,
            env={**os.environ, **(environment or {})},
            cwd=log.parent,
            timeout=120,
            check=False,
        )
    if finished.returncode:
        raise ProcessError(f"{command[0]} ended with {finished.returncode}:\n{log.read_text(errors='replace')[-2000:]}")


class Server:
    """A server with a port that it keeps over restarts."""

    name = ""
    start_seconds = 30.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process = self.prepare()

    def prepare(self) -> Process:
        raise NotImplementedError

    def start(self) -> None:
        self.process.start()
        wait_for(f"{self.name} listens", self._is_up, self.start_seconds)

    def _is_up(self) -> bool:
        if not self.process.running:
            raise ProcessError(f"{self.name} ended with {self.process.exit_code}:\n{self.process.tail()}")
        return listens(self.port)

    def kill(self) -> None:
        self.process.kill()

    def stop(self) -> None:
        self.process.stop()

    def freeze(self) -> None:
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.signal(signal.SIGCONT)


class Redis(Server):
    """Keeps nothing: a restart empties it."""

    name = "redis"

    def prepare(self) -> Process:
        options = ["--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no"]
        return Process(self.name, [program("redis-server"), *options], self.folder)


class PostgreSQL(Server):
    name = "postgresql"

    def prepare(self) -> Process:
        user = other_user("postgres")
        data = own_folder(self.folder, "postgresql", user)
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"]
        run([program("initdb"), "-D", str(data), *options], self.folder / "initdb.log", user=user)
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            # A killed server loses nothing without it, only a machine that loses power does.
            "fsync": "off",
            "max_connections": "100",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Process(self.name, [program("postgres"), "-D", str(data), *options], self.folder, user=user)

    def _is_up(self) -> bool:
        """It listens before it takes anybody in: first it recovers."""
        asked = [program("pg_isready"), "--quiet", "--host", HOST, "--port", str(self.port)]
        return super()._is_up() and subprocess.run(asked, check=False).returncode == 0

    def kill(self) -> None:
        """Stop at once, as ``pg_ctl -m immediate`` does: all connections break, and recovery follows."""
        if self.process.popen is not None:
            self.process.popen.send_signal(signal.SIGQUIT)
            self.process.wait(10)
        self.process.kill()


class MariaDB(Server):
    """Has its clock three hours off UTC, as servers that follow their own time zone have."""

    name = "mariadb"
    database = "shop"

    def prepare(self) -> Process:
        user = other_user("mysql")
        home = own_folder(self.folder, "mariadb", user)
        data = home / "data"
        create = [program("mariadb-install-db"), "--no-defaults", f"--datadir={data}"]
        run(
            [*create, "--auth-root-authentication-method=normal", "--skip-test-db"],
            self.folder / "mariadb-install-db.log",
            user=user,
        )
        # Read at each start.
        first = self.folder / "mariadb.sql"
        first.write_text(
            f"CREATE DATABASE IF NOT EXISTS {self.database} CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS root@'{HOST}';\n"
            f"GRANT ALL ON *.* TO root@'{HOST}';\n"
        )
        first.chmod(0o644)
        options = {
            "datadir": data,
            "socket": home / "socket",
            "pid-file": home / "pid",
            "bind-address": HOST,
            "port": self.port,
            "init-file": first,
            "default-time-zone": "+03:00",
            "innodb-buffer-pool-size": "64M",
            # A killed server loses nothing with it, only a machine that loses power does.
            "innodb-flush-log-at-trx-commit": 2,
        }
        command = [program("mariadbd"), "--no-defaults", "--skip-name-resolve"]
        return Process(
            self.name, [*command, *(f"--{name}={value}" for name, value in options.items())], self.folder, user=user
        )


class PortMapper(Server):
    """What tells Erlang's nodes of one another. One that a node starts for itself would outlive it."""

    name = "epmd"

    def prepare(self) -> Process:
        return Process(self.name, [program("epmd"), "-address", HOST, "-port", str(self.port)], self.folder)


class RabbitMQ(Server):
    """Keeps its queues over restarts."""

    name = "rabbitmq"
    start_seconds = 90.0

    def __init__(self, folder: Path, mapper: PortMapper) -> None:
        self.mapper = mapper
        super().__init__(folder)

    def prepare(self) -> Process:
        home = own_folder(self.folder, "rabbitmq", None)
        nothing = home / "environment"
        nothing.touch()
        (home / "plugins").write_text("[].")
        environment = {
            # Its cookie is in it.
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self.mapper.port),
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": str(nothing),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_NODENAME": f"chaos{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(home / "pid"),
            # No shell between, which would forget to pass signals on.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        return Process(self.name, [program("rabbitmq-server")], self.folder, environment=environment)


class Sandbox(Server):
    """The stand-in for Bronto, with its orders in a file."""

    name = "sandbox"

    def prepare(self) -> Process:
        self.database = self.folder / "bronto.sqlite3"
        options = ["--port", str(self.port), "--database", str(self.database)]
        return Process(self.name, [sys.executable, "-m", "bronto_orders.sandbox", *options], self.folder)
