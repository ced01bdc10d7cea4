"""Servers that tests need and a machine may lack."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest


def need(program: str, library: str) -> str:
    """Return the program's path. Without it, or without the Python library, skip the test; in CI, fail it."""
    path = shutil.which(program)
    if path and importlib.util.find_spec(library):
        return path
    reason = f"{program} and the Python package {library} are needed for this test"
    if os.environ.get("BRONTO_TEST_REQUIRE_SERVICES"):
        pytest.fail(reason)
    pytest.skip(reason)
