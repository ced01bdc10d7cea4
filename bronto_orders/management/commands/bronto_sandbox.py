from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

OPTIONS = ("host", "port", "database", "client_id", "client_secret", "faults")


class Command(BaseCommand):
    help = "Runs a stand-in for Bronto's Orders REST service in the place of this process."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        # Only what is given is passed on: the defaults are the server's own.
        parser.add_argument("--host", help="The address to listen on (default: 127.0.0.1).")
        parser.add_argument("--port", help="The port to listen on, 0 for any free one (default: 8899).")
        parser.add_argument("--database", help="An SQLite file to keep (default: in memory).")
        parser.add_argument("--client-id", help="The id of the OAuth client (default: sandbox).")
        parser.add_argument("--client-secret", help="The secret of the OAuth client (default: sandbox-secret).")
        parser.add_argument("--faults", metavar="JSON", help="Faults in force from the start, as a JSON list.")

    def handle(self, *args: Any, **options: Any) -> None:
        given = [name for name in OPTIONS if options[name] is not None]
        arguments = [sys.executable, "-m", "bronto_orders.sandbox"]
        arguments += [f"--{name.replace('_', '-')}={options[name]}" for name in given]
        sys.stdout.flush()
        sys.stderr.flush()
        # The process is replaced, not doubled: signals reach the server and no child can be orphaned.
        os.execve(sys.executable, arguments, _environment())  # noqa: S606


def _environment() -> dict[str, str]:
    """This environment, with the place this package was imported from on the path."""
    root = str(Path(__file__).resolve().parents[3])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != root]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, root])}
