from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.sandbox.service import COMMAND, ROOT, Process, Service
from tests.services import free_port

pytestmark = pytest.mark.slow
MANAGE = [sys.executable, "-m", "django", "bronto_sandbox", "--settings", "tests.settings"]


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def start(*arguments: str, **kwargs: Any) -> Process:
        processes.append(Process(*arguments, **kwargs))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


@pytest.fixture
def serve(start: Callable[..., Process]) -> Iterator[Callable[..., Service]]:
    with contextlib.ExitStack() as stack:

        def serve(*arguments: str, **kwargs: Any) -> Service:
            service = Service(start("--port", "0", *arguments, **kwargs).base_url)
            stack.callback(service.close)
            return service

        yield serve


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_cleanly(start, number, tmp_path):
    process = start("--port", "0", env={**os.environ, "TMPDIR": str(tmp_path)})
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", process.first_line)
    with requests.Session() as session:
        session.get(f"{process.base_url}/_sandbox/orders", timeout=10)  # a connection that stays open
        started = time.monotonic()
        process.child.send_signal(number)

        assert process.stop() == (0, "", "")
    assert time.monotonic() - started < 3
    assert list(tmp_path.iterdir()) == []


def test_signal_ends_calls_that_are_held_back(start):
    process = start("--port", "0")
    with requests.Session() as session:
        session.put(f"{process.base_url}/_sandbox/faults", json=[{"latency": 60}], timeout=10)
        codes: list[int | None] = []

        def call() -> None:
            try:
                codes.append(session.get(f"{process.base_url}/orders", timeout=20).status_code)
            except requests.ConnectionError:
                codes.append(None)

        thread = threading.Thread(target=call)
        thread.start()
        while not requests.get(f"{process.base_url}/_sandbox/faults", timeout=10).json()[0]["hits"]:
            time.sleep(0.02)
        started = time.monotonic()
        assert process.stop() == (0, "", "")
        assert time.monotonic() - started < 3
        thread.join(5)
    assert len(codes) == 1


def test_signal_during_start_up(tmp_path):
    path = tmp_path / "kept.sqlite3"
    child = subprocess.Popen(
        [*COMMAND, "--port", "0", "--database", str(path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not path.exists() and child.poll() is None:
        time.sleep(0.001)
    child.terminate()
    out, errors = child.communicate(timeout=20)

    assert (child.returncode, errors) == (0, b"")
    assert out.count(b"\n") <= 1


def test_ends_with_the_process_that_started_it(start):
    process = start("--port", "0", "--until-stdin-closes", stdin=subprocess.PIPE)
    assert process.base_url

    process.child.stdin.close()

    assert process.child.wait(5) == 0


def test_faults_from_the_start(start):
    process = start("--port", "0", "--faults", '[{"status": 503, "count": 1}]')
    with requests.Session() as session:
        codes = [session.post(f"{process.base_url}/oauth2/token", timeout=10).status_code for _ in range(2)]

    assert codes == [503, 400]


def test_default_port_and_client(start):
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", 8899)) == 0:
            pytest.skip("port 8899 is in use on this machine")

    assert start().base_url == "http://127.0.0.1:8899"


def test_port_in_use(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("--port", str(taken.getsockname()[1]))
        code, rest, errors = process.stop()

    assert (code, process.first_line + rest) == (1, "")
    told = (
        r"bronto_sandbox: cannot listen on 127\.0\.0\.1 port \d+: Address already in use; choose another with --port\n"
    )
    assert re.fullmatch(told, errors)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--host", "192.0.2.1"), 1),
        (("--host", "no such host"), 1),
        (("--database", "/no/such/directory/file"), 1),
        (("--database", str(Path(__file__))), 1),
        (("--port", "99999"), 2),
        (("--port", "http"), 2),
        (("--prot", "1"), 2),
        (("--faults", "[{}]"), 2),
        (("--faults", "outage"), 2),
    ],
)
def test_wrong_options(start, arguments, code):
    port = () if "--port" in arguments else ("--port", "0")
    process = start(*port, *arguments)

    got, rest, errors = process.stop()

    assert (got, process.first_line + rest) == (code, "")
    assert "bronto_sandbox: " in errors
    assert "Traceback" not in errors


def test_port_is_free_again_at_once(start):
    port = str(free_port())
    for _ in range(2):
        process = start("--port", port)
        with requests.Session() as session:
            assert session.get(f"{process.base_url}/_sandbox/orders", timeout=10).json() == []
            assert process.stop()[0] == 0


def test_kept_database_and_own_client(serve, tmp_path):
    path = str(tmp_path / "kept.sqlite3")
    first = serve("--database", path, "--client-id", "one", "--client-secret", "s 1")
    headers = {"Authorization": f"Bearer {first.grant('one', 's 1')['access_token']}"}
    assert first.call("POST", "/orders", json={"customerOrderId": "a"}, headers=headers).status_code == 201

    second = serve("--database", path, "--client-id", "two", "--client-secret", "=&?ü")

    assert [order["customerOrderId"] for order in second.orders()] == ["a"]
    for service in (first, second):
        assert service.grant("two", "=&?ü")
        for client, secret in (("sandbox", "sandbox-secret"), ("one", "s 1"), ("two", "s 1"), ("two", "")):
            form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
            assert service.ask_token(form).status_code == 401
    second.control("POST", "reset")
    assert first.orders() == []
    assert second.grant("two", "=&?ü")


def test_other_hosts(start):
    assert start("--port", "0", "--host", "localhost").base_url.startswith("http://127.0.0.1:")
    if socket.has_ipv6:
        process = start("--port", "0", "--host", "::1")
        assert re.fullmatch(r"http://\[::1\]:\d+", process.base_url)
        with requests.Session() as session:
            assert session.get(f"{process.base_url}/_sandbox/orders", timeout=10).json() == []


def test_command_is_the_same_server(start, tmp_path):
    path = tmp_path / "kept.sqlite3"
    arguments = ("--port", "0", "--database", str(path), "--client-id", "-c", "--client-secret", "--s")
    process = start(*[f"{a}={b}" for a, b in zip(arguments[::2], arguments[1::2], strict=True)], command=MANAGE)
    service = Service(process.base_url)
    try:
        assert service.grant("-c", "--s")
        assert service.orders() == []
        assert psutil.Process(process.child.pid).children() == []
    finally:
        service.close()
    assert process.stop()[:2] == (0, "")
    assert path.exists()


def test_command_works_from_another_directory(start, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = start("--port", "0", "--host", "127.0.0.1", command=MANAGE, cwd=tmp_path, env=environment)

    assert process.base_url
    assert process.stop()[:2] == (0, "")


def test_command_tells_of_a_port_in_use(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("--port", str(taken.getsockname()[1]), command=MANAGE)
        code, rest, errors = process.stop()

    assert (code, process.first_line + rest) == (1, "")
    assert "Address already in use" in errors
