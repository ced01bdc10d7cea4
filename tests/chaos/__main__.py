"""``python -m tests.chaos [COMBINATION …] [--orders N] [--seed SEED]`` plays campaigns, one after another."""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

from tests.chaos.stage import COMBINATIONS, Stage

#: In each campaign, unless somebody says otherwise.
ORDERS = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Play campaigns of orders and faults.")
    parser.add_argument("combinations", nargs="*", metavar="COMBINATION", help=f"of {', '.join(COMBINATIONS)}")
    orders = int(os.environ.get("BRONTO_CHAOS_ORDERS") or ORDERS)
    parser.add_argument("--orders", type=int, default=orders, help="in each campaign (default: %(default)s)")
    seed = int(os.environ.get("BRONTO_CHAOS_SEED") or random.randrange(10**6))
    parser.add_argument("--seed", type=int, default=seed, help="of all chance (default: any)")
    parser.add_argument("--faults", default="", metavar="LANES", help="only those whose name has this pattern")
    parser.add_argument("--keep", action="store_true", help="keep logs and databases in any case")
    options = parser.parse_args()
    combinations = options.combinations or list(COMBINATIONS)
    for name in combinations:
        if name not in COMBINATIONS:
            parser.error(f"{name} is none of {', '.join(COMBINATIONS)}")
    if len(combinations) == 1:
        return play(combinations[0], options)
    return max([play_apart(name, options) for name in combinations])


def play_apart(combination: str, options: argparse.Namespace) -> int:
    """Play a campaign in a process of its own: each has its own settings."""
    known = ["--orders", str(options.orders), "--seed", str(options.seed), "--faults", options.faults]
    command = [sys.executable, "-m", "tests.chaos", combination, *known, *(["--keep"] if options.keep else [])]
    return subprocess.run(command, check=False).returncode


def play(combination: str, options: argparse.Namespace) -> int:
    say(f"=== {combination}: {options.orders} orders, seed {options.seed}")
    # So that what was started is ended.
    signal.signal(signal.SIGTERM, _end)
    folder = Path(tempfile.mkdtemp(prefix="bronto-chaos-"))
    # Servers that refuse to run as root run as others, and must find their folders in it.
    folder.chmod(0o711)
    with Stage(COMBINATIONS[combination], folder) as stage:
        os.environ.update(stage.environment(stage.database.settings))
        import django

        django.setup()

        from tests.chaos.campaign import Campaign, describe

        campaign = Campaign(stage, orders=options.orders, seed=options.seed, faults=options.faults)
        outcome = campaign.run()
    say("\n".join([*outcome.report, *describe(outcome.failures)]))
    if outcome.failures or options.keep:
        say(f"Logs and databases are in {folder}")
    else:
        stage.remove()
    return 1 if outcome.failures else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
