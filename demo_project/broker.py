"""A Celery broker that is a folder, so that the demo needs no server. Not for production.

Kombu's own transport of this kind writes messages and routing tables in place. A reader that comes in between finds an
empty file and fails, and with it the worker; in a tight loop every eightieth message went that way.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

SCHEME = "folder"
POLLING_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 0.5


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: dict[str, Any], **kwargs: Any) -> None:
        folder = Path(self.data_folder_out)
        folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        draft = folder / f"{name}.draft"
        draft.write_text(dumps(payload))
        draft.rename(folder / f"{time.time_ns()}_{name}.{queue}.msg")

    def get_table(self, exchange: str) -> list[Any]:
        with self._locked_tables():
            return super().get_table(exchange)

    def _queue_bind(self, *args: Any) -> None:
        with self._locked_tables():
            super()._queue_bind(*args)

    @contextmanager
    def _locked_tables(self) -> Iterator[None]:
        self.control_folder.mkdir(parents=True, exist_ok=True)
        with (self.control_folder / "lock").open("w") as file:
            filesystem.lock(file, filesystem.LOCK_EX)
            yield


class Transport(filesystem.Transport):
    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None) -> Any:
        # A worker that is told to stop first waits this out, several times.
        return super().drain_events(connection, timeout and min(timeout, LONGEST_WAIT_SECONDS))


TRANSPORT_ALIASES[SCHEME] = "demo_project.broker:Transport"


def transport_options(url: str, folder: Path) -> dict[str, Any]:
    """Return what keeps a web request from waiting for a broker that is down, by the broker's kind.

    For a folder: where it is, and how often it is looked into.
    """
    match url.partition(":")[0]:
        case "folder":
            messages = folder / "messages"
            # kombu lists the folder before anything is put into it.
            messages.mkdir(parents=True, exist_ok=True)
            return {
                "max_retries": 0,
                "data_folder_in": str(messages),
                "data_folder_out": str(messages),
                "control_folder": str(folder / "tables"),
                "polling_interval": POLLING_SECONDS,
            }
        case "redis" | "rediss":
            return {
                "max_retries": 0,
                "socket_timeout": 0.5,
                "socket_connect_timeout": 0.5,
                "visibility_timeout": 3600,
            }
        case "amqp" | "amqps" | "pyamqp":
            return {"max_retries": 0, "confirm_publish": True, "read_timeout": 1, "write_timeout": 1}
        case _:
            return {"max_retries": 0}
