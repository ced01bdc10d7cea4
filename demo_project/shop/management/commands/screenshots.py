from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from demo_project.photographer import Studio, photograph
from demo_project.processes import any_free_port
from demo_project.supervisor import DemoError


class Command(BaseCommand):
    help = "Takes the pictures of the documentation, of a demo shop made for them."
    # The processes make their own checks, and this one needs no database.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--to", type=Path, default=settings.BASE_DIR / "docs" / "images", help="Where they go.")

    def handle(self, **options: Any) -> None:
        try:
            with (
                tempfile.TemporaryDirectory(prefix="bronto-pictures-", ignore_cleanup_errors=True) as state,
                Studio(Path(state), port=any_free_port(), sandbox_port=any_free_port()) as studio,
            ):
                studio.start()
                for file in photograph(studio.url, options["to"]):
                    self.stdout.write(f"{file} ({file.stat().st_size // 1000} kB)")
        except DemoError as error:
            raise CommandError(str(error)) from None
