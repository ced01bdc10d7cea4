"""One web process of the shop: ``python -m tests.chaos.web NAME …``, started by the campaign."""

from __future__ import annotations

import argparse
import faulthandler
import signal
from pathlib import Path

import django

from tests.chaos import celery_app  # noqa: F401 - hints go to the current app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    for name in ("seed", "threads", "orders"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--report", type=Path, required=True)
    options = vars(parser.parse_args())
    # Tells where each thread is, should the campaign ask.
    faulthandler.register(signal.SIGUSR1)
    django.setup()

    from tests.chaos.shop import trade

    trade(options.pop("name"), **options)


if __name__ == "__main__":
    main()
