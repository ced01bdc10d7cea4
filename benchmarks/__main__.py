"""How fast this app is, beside what it promises: ``python -m benchmarks [NAME ...] [--short] [--check] [--write]``."""

from __future__ import annotations

import argparse
import atexit
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable

#: In the order in which they are run.
NAMES = ("cpu", "drain", "checkout", "latency", "coalescing", "memory", "scale", "admin", "middleware", "calls")


def main() -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure this app beside its targets.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--short", action="store_true", help="fewer runs and orders, wide margins: for CI")
    parser.add_argument("--check", action="store_true", help="fail when a figure is far from its target")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(NAMES)}")
    if options.write and (options.names or options.short):
        parser.error("--write is for a full run of all benchmarks")
    # Told to end, it ends as by Ctrl-C: with its processes ended and its databases dropped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Before anything of Django is imported: the children read it too.
    folder = tempfile.mkdtemp(prefix="bronto_orders_benchmark_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["BRONTO_BENCHMARK"] = json.dumps({"suffix": str(os.getpid()), "folder": folder})
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    from benchmarks import databases, report
    from benchmarks.measure import Effort, Figure

    databases.set_up()
    effort = Effort(short=options.short)
    servers = databases.versions()
    print(f"{report.machine(servers)}; {report.load()}", flush=True)
    figures: list[Figure] = []
    for name in options.names or NAMES:
        print(f"\n{name} …", flush=True)
        run: Callable[[Effort], Iterable[Figure]] = importlib.import_module(f"benchmarks.{name}").run
        started = time.monotonic()
        found: list[Figure] = []
        try:
            found += run(effort)
        except databases.MissingServiceError as error:
            print(f"skipped: {error}")
        if found:
            print(report.table(found))
        print(f"({time.monotonic() - started:.0f} s, {report.load()})", flush=True)
        figures += found
    if options.write:
        report.write(figures, servers)
    missed = [figure for figure in figures if figure.verdict == "missed"]
    far = [figure for figure in missed if figure.is_far_off(effort.margin)]
    aimed = [figure for figure in figures if figure.target is not None]
    print(f"\n{len(aimed) - len(missed)} of {len(aimed)} targets met.")
    for figure in missed:
        print(f"{'FAR OFF' if figure in far else 'missed'}: {figure.what}: {figure.measured}, target {figure.aim}")
    return 1 if options.check and far else 0


if __name__ == "__main__":
    sys.exit(main())
