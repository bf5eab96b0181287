"""A wire that can be stopped: bytes stay where they are, and both ends keep their socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["StallingProxy", "stalling_proxy"]

_PIECE = 65_536


class StallingProxy:
    """Passes bytes between a browser and a server while it is open."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._open = asyncio.Event()
        self._open.set()
        self._jobs: set[asyncio.Task[None]] = set()
        self.url = ""

    def shut(self) -> None:
        """Let nothing through to the browser, and keep all sockets."""
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the browser."""
        there, back = await asyncio.open_connection(*self._to)
        jobs = {asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))}
        self._jobs |= jobs
        await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        self._jobs -= jobs
        for end in (writer, back):
            end.close()
            with suppress(ConnectionError):
                await end.wait_closed()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await source.read(_PIECE):
                await self._open.wait()
                sink.write(piece)
                await sink.drain()

    async def end(self) -> None:
        """Give up every connection."""
        self.open()
        for job in tuple(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)


@asynccontextmanager
async def stalling_proxy(url: str) -> AsyncGenerator[StallingProxy, None]:
    """A wire to an ``http://host:port``, on a port of its own."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    proxy = StallingProxy(host, int(port))
    async with await asyncio.start_server(proxy.accept, "127.0.0.1", 0) as server:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield proxy
        finally:
            await proxy.end()
