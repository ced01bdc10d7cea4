from __future__ import annotations

import ast
import os
import subprocess
import sys
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


def test_nothing_imports_the_sandbox():
    for path in PACKAGE.rglob("*.py"):
        if SANDBOX not in path.parents:
            assert not any(name.startswith("bronto_orders.sandbox") for name in imported(path)), path


@pytest.mark.slow
def test_migration_is_up_to_date():
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "bronto_orders.sandbox.settings"}
    command = [sys.executable, "-m", "django", "makemigrations", "--check", "--dry-run"]

    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 0, result.stdout
