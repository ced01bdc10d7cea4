"""Servers that tests need and a machine may lack."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import socket
from typing import NoReturn

import pytest


def need(program: str, library: str) -> str:
    """Return the program's path. Without it, or without the Python library, skip the test; in CI, fail it."""
    need_package(library)
    return shutil.which(program) or do_without(f"{program} is needed for this test")


def need_package(library: str) -> None:
    """Without the Python library, skip the test; in CI, fail it."""
    if not importlib.util.find_spec(library):
        do_without(f"the Python package {library} is needed for this test")


def do_without(reason: str) -> NoReturn:
    """Skip the test; in CI, fail it."""
    if os.environ.get("BRONTO_TEST_REQUIRE_SERVICES"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """Return a port for a server that may be stopped and started again.

    Below those that the system gives to connections: one of them might have the port when the server wants it back.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
