"""Servers that tests need and a machine may lack."""

from __future__ import annotations

import importlib.util
import os
import shutil
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
