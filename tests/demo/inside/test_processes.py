from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from demo_project.processes import HOST, Process, is_free, next_free_port, stop


def make(tmp_path: Path, code: str) -> Process:
    log = tmp_path / "child.log"
    return Process("child", [sys.executable, "-uc", code], log, os.environ, tmp_path, lambda process: True)


def wait_for_line(process: Process, line: str) -> None:
    deadline = time.monotonic() + 30
    while line not in process.tail(1):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
    child = make(tmp_path, code)
    child.start()
    wait_for_line(child, "deaf")
    stop([child], grace_seconds=0.2)
    assert child._child is not None
    assert child._child.wait(10) == -signal.SIGKILL


def test_stopping_what_never_ran_is_no_error(tmp_path: Path) -> None:
    stop([make(tmp_path, "")], grace_seconds=1)


def test_output_is_given_out_in_whole_lines(tmp_path: Path) -> None:
    child = make(tmp_path, "")
    child.log.write_text("one\ntw")
    assert child.new_lines() == ["one"]
    with child.log.open("a") as log:
        log.write("o\nthree")
    assert child.new_lines() == ["two"]
    assert child.tail(2) == "two\nthree"


def test_ports_that_are_taken_are_passed_by() -> None:
    with socket.create_server((HOST, 0)) as server:
        taken = server.getsockname()[1]
        assert not is_free(taken)
        assert next_free_port(taken) != taken
