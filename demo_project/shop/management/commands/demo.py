from __future__ import annotations

import signal
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from demo_project.processes import any_free_port, is_free, next_free_port
from demo_project.shopper import RehearsalError, rehearse
from demo_project.supervisor import ADMIN_LOGIN, ADMIN_PASSWORD, Demo, DemoError

PORT = 8000
SANDBOX_PORT = 8899
WELCOME = """
  Fern & Fossil is open.

    Shop      {url}/
    Inbox     {url}/inbox/
    Admin     {url}/admin/        ({login} / {password})
    Sandbox   {sandbox}/_sandbox/

  Try this: follow a link in the inbox, buy something, and watch the thank-you page while the order
  travels to Bronto. Mark the purchase as shipped in the admin, then reload. Then press Outage in the
  sandbox, buy something else, and see how it arrives once you press Clear faults.

  Logs are in {logs}/. Ctrl-C ends it all.
"""


class Command(BaseCommand):
    help = "Runs the whole demo: shop, Celery worker and beat, and a sandbox in Bronto's place."
    # The processes make their own checks, and this one needs no database.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="Play an order from click to parcel, print the outcome and end."
        )
        parser.add_argument("--port", type=int, help=f"Of the shop. Default: {PORT} or the next free one. 0: any.")
        parser.add_argument(
            "--sandbox-port", type=int, help=f"Of the sandbox. Default: {SANDBOX_PORT} or the next free one. 0: any."
        )

    def handle(self, **options: Any) -> None:
        # The same end, whether by Ctrl-C, by somebody else, or because the terminal was closed.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupt)
        run = self.run_once if options["once"] else self.run
        try:
            run(options["port"], options["sandbox_port"])
        except (DemoError, RehearsalError) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            self.stdout.write("Closed.")

    def run(self, port: int | None, sandbox_port: int | None) -> None:
        port = next_free_port(PORT) if port is None else claimed(port)
        sandbox_port = next_free_port(SANDBOX_PORT) if sandbox_port is None else claimed(sandbox_port)
        with Demo(settings.DEMO_STATE, port=port, sandbox_port=sandbox_port) as demo:
            self.stdout.write("Opening the shop …")
            demo.start()
            texts = {"url": demo.url, "sandbox": demo.sandbox_url, "logs": demo.logs}
            self.stdout.write(WELCOME.format(**texts, login=ADMIN_LOGIN, password=ADMIN_PASSWORD))
            while True:
                demo.check()
                for line in demo.worker.new_lines():
                    self.stdout.write(f"{self.style.HTTP_INFO('worker')}  {line}")
                time.sleep(0.25)

    def run_once(self, port: int | None, sandbox_port: int | None) -> None:
        with (
            tempfile.TemporaryDirectory(prefix="bronto-demo-", ignore_cleanup_errors=True) as state,
            Demo(
                Path(state),
                port=any_free_port() if port is None else claimed(port),
                sandbox_port=any_free_port() if sandbox_port is None else claimed(sandbox_port),
            ) as demo,
        ):
            demo.start()
            try:
                login = (ADMIN_LOGIN, ADMIN_PASSWORD)
                rehearsal = rehearse(demo.url, demo.sandbox_url, login=login, check=demo.check)
            except RehearsalError as error:
                raise RehearsalError(f"{error}\n{demo.logs_in_short()}") from None
        self.stdout.write(rehearsal.table())


def claimed(port: int) -> int:
    """Return a port that was asked for, any free one for 0. Raises CommandError when it is taken."""
    if port == 0:
        return any_free_port()
    if not is_free(port):
        raise CommandError(f"Port {port} is in use. Choose another, or leave the option out to get the next free one.")
    return port


def interrupt(*args: object) -> NoReturn:
    raise KeyboardInterrupt
