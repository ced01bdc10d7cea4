from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.sandbox.service import ROOT

PACKAGE = ROOT / "bronto_orders"
SANDBOX = PACKAGE / "sandbox"


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", sorted(SANDBOX.rglob("*.py")), ids=lambda path: str(path.relative_to(SANDBOX)))
def test_sandbox_imports_nothing_of_the_client_side(path):
    ours = {name for name in imported(path) if name.split(".")[0] == "bronto_orders"}

    assert all(name.startswith("bronto_orders.sandbox.") for name in ours)


def test_only_the_help_for_tests_imports_the_sandbox():
    for path in PACKAGE.rglob("*.py"):
        if SANDBOX not in path.parents and path != PACKAGE / "testing.py":
            assert not any(name.startswith("bronto_orders.sandbox") for name in imported(path)), path
