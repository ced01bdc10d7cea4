"""Processes in which things are measured: started and made ready first, then let go together."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def environment(**place: Any) -> dict[str, str]:
    """Return a child's environment: this one's place with some of it changed."""
    here = json.loads(os.environ.get("BRONTO_BENCHMARK", "{}"))
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "BRONTO_BENCHMARK": json.dumps({**here, **place}),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


class Child:
    """A process that plays a role of ``benchmarks.roles``."""

    def __init__(self, role: str, options: dict[str, Any], **place: Any) -> None:
        self.role = role
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.roles", role, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(**place),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.role} ended with {self._process.wait()}")
        return json.loads(line)

    def wait_until_ready(self) -> None:
        """Wait until it has imported all it needs and connected to all it needs."""
        if self._read() != "ready":
            raise RuntimeError(f"{self.role} is not ready")

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Wait for what it has measured."""
        result: dict[str, Any] = self._read()
        return result

    def end(self) -> None:
        """Have it end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


@contextlib.contextmanager
def children(role: str, options: Sequence[dict[str, Any]], **place: Any) -> Iterator[list[Child]]:
    """Start one process for each set of options and yield them once all are ready."""
    started = [Child(role, one, **place) for one in options]
    try:
        for child in started:
            child.wait_until_ready()
        yield started
    finally:
        for child in started:
            child.end()


def run(role: str, options: Sequence[dict[str, Any]], **place: Any) -> list[dict[str, Any]]:
    """Run processes at the same time. Returns what each has measured."""
    with children(role, options, **place) as started:
        for child in started:
            child.go()
        return [child.result() for child in started]
