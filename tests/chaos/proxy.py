"""A TCP proxy that delays, stalls, swallows and cuts what it carries.

All proxies share one event loop in a thread. What they are told from other threads takes effect before the call
returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from tests.chaos.processes import HOST

T = TypeVar("T")
PIECE = 65536
_RESET = struct.pack("ii", 1, 0)

#: Which way bytes go: ``up`` from the client to the server.
Direction = Literal["up", "down"]


class _Way:
    """What happens to bytes of all connections in one direction. Lives in the loop's thread."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.swallows = False
        self.flows = asyncio.Event()
        self.flows.set()


class Proxy:
    """Carries connections to one server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int) -> None:
        self._loop = loop
        self._target = target
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self._call(self._open)
        self.cuts = 0

    def delay(self, seconds: float) -> None:
        """Let every piece take this much longer, both ways."""

        def change() -> None:
            for way in self._ways.values():
                way.delay = seconds

        self._call(change)

    def stall(self, *directions: Direction) -> None:
        """Hold all bytes back until ``heal``; then they go on, also to a server whose client has given up."""
        self._call(lambda: [self._ways[direction].flows.clear() for direction in directions])

    def swallow(self, *directions: Direction) -> None:
        """Lose all bytes until ``heal``, which then cuts the connections."""

        def change() -> None:
            for direction in directions:
                self._ways[direction].swallows = True

        self._call(change)

    def refuse(self) -> None:
        """Take no new connection until ``heal``."""
        self._call(self._close)

    def cut(self, *, reset: bool = False) -> int:
        """End all connections now, what is under way on them is lost. Returns how many there were."""
        count = self._call(lambda: self._cut(reset=reset))
        self.cuts += count
        return count

    def heal(self) -> None:
        """Carry everything faithfully again."""
        self._run(self._heal())

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        self._run(self._end())

    # In the loop's thread

    async def _open(self) -> None:
        if not self.port:
            self._ways: dict[str, _Way] = {"up": _Way(), "down": _Way()}
        self._server = await asyncio.start_server(self._serve, HOST, self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _heal(self) -> None:
        if any(way.swallows for way in self._ways.values()):
            self._cut(reset=True)
        for way in self._ways.values():
            way.delay, way.swallows = 0.0, False
            way.flows.set()
        if self._server is None:
            await self._open()

    async def _end(self) -> None:
        self._close()
        self._cut(reset=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self, *, reset: bool) -> int:
        pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for writer in pair:
                if reset:
                    with contextlib.suppress(OSError, AttributeError):
                        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
        return len(pairs)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        to_server: asyncio.StreamWriter | None = None
        try:
            from_server, to_server = await asyncio.open_connection(HOST, self._target)
            pair = (to_client, to_server)
            self._pairs.add(pair)
            try:
                await asyncio.gather(
                    self._carry(from_client, to_server, self._ways["up"]),
                    self._carry(from_server, to_client, self._ways["down"]),
                )
            finally:
                self._pairs.discard(pair)
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            for writer in filter(None, (to_client, to_server)):
                writer.transport.abort()

    @staticmethod
    async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way) -> None:
        while True:
            piece = await reader.read(PIECE)
            if way.delay:
                await asyncio.sleep(way.delay)
            await way.flows.wait()
            if not piece:
                break
            if not way.swallows:
                writer.write(piece)
                await writer.drain()
        writer.write_eof()

    # From other threads

    def _call(self, change: Callable[[], T] | Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def run() -> T:
            result: Any = change()
            return await result if asyncio.iscoroutine(result) else result  # type: ignore[no-any-return]

        return self._run(run())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


class Proxies:
    """All proxies of a campaign, as a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._proxies: list[Proxy] = []

    def __enter__(self) -> Proxies:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies:
            proxy.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def to(self, port: int) -> Proxy:
        """Open a proxy to a port of this machine."""
        proxy = Proxy(self._loop, port)
        self._proxies.append(proxy)
        return proxy
