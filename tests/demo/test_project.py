"""The demo as its user has it: whole processes, started as the Makefile starts them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"DATABASE_URL", "CELERY_BROKER_URL", "CACHE_URL", "DEBUG", "DJANGO_SETTINGS_MODULE"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return {**inherited, "DEMO_STATE": str(tmp_path / "state of the demo")}


def run_demo(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "manage.py"), "demo", *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


class Run:
    """A running ``manage.py demo``."""

    def __init__(self, environment: dict[str, str], output: Path) -> None:
        self.output = output
        with output.open("w") as file:
            self.child = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "demo", "--port", "0", "--sandbox-port", "0"],
                cwd=ROOT,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def wait_until_open(self) -> None:
        wait_for(lambda: "Ctrl-C ends it all" in self.text or self.child.poll() is not None)
        assert self.child.poll() is None, self.text

    def services(self) -> dict[str, psutil.Process]:
        names = {"bronto_orders.sandbox": "sandbox", "runserver": "web", "worker": "worker", "beat": "beat"}
        found = {}
        for process in psutil.Process(self.child.pid).children():
            words = process.cmdline()
            found |= {name: process for word, name in names.items() if word in words}
        return found


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def demo(environment: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    run = Run(environment, tmp_path / "output")
    try:
        run.wait_until_open()
        yield run
    finally:
        run.child.terminate()
        run.child.wait(60)


def test_the_storefront_passes_its_own_tests(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "--ds=demo_project.settings", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, "tests/demo/inside"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_once_takes_an_order_from_click_to_parcel(environment: dict[str, str]) -> None:
    result = run_demo(environment, "--once")
    assert result.returncode == 0, result.stdout + result.stderr
    table = dict(re.split(r" {2,}", line, maxsplit=1) for line in result.stdout.splitlines())
    assert table["Order"] == "DEMO-1001"
    assert table["State"] == "synced"
    assert table["Tracking taken"] == "yes"
    assert table["States at Bronto"] == "processed, shipped"
    for step in ("Add", "Update"):
        assert re.fullmatch(r"\d+\.\d\d s", table[f"{step} acknowledged after"])


def test_runs_alone_and_stops_by_ctrl_c_and_starts_again(
    demo: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    services = demo.services()
    assert set(services) == {"sandbox", "web", "worker", "beat"}
    second = run_demo(environment)
    assert second.returncode == 1
    assert "running already" in second.stderr

    demo.child.send_signal(signal.SIGINT)

    assert demo.child.wait(60) == 0, demo.text
    assert all(map(is_gone, services.values()))
    again = Run(environment, tmp_path / "output-again")
    try:
        again.wait_until_open()
    finally:
        again.child.terminate()
        assert again.child.wait(60) == 0


def test_a_process_that_ends_ends_the_demo_with_its_log(demo: Run) -> None:
    services = demo.services()
    services["worker"].kill()

    assert demo.child.wait(60) == 1
    assert "The worker process ended with exit code -9. The end of its log:" in demo.text
    assert all(map(is_gone, services.values()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_a_killed_demo_leaves_no_process(demo: Run) -> None:
    services = demo.services()
    demo.child.kill()
    demo.child.wait(60)

    wait_for(lambda: all(map(is_gone, services.values())), seconds=30)


def test_a_taken_port_that_was_asked_for_is_an_error(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        result = run_demo(environment, "--port", port)
    assert result.returncode == 1
    assert f"Port {port} is in use." in result.stderr


def test_make_lists_its_targets() -> None:
    result = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = [line.split()[1] for line in result.stdout.splitlines()]
    assert listed == [
        "help",
        "demo",
        "demo-once",
        "screenshots",
        "test",
        "bench",
        "chaos",
        "messages",
        "lint",
        "types",
        "clean",
    ]
