"""A line of TCP between gateway and Deriv that can be cut at any byte, fall silent, or become slow.

It knows nothing of HTTP or WebSocket: what breaks is what a cable breaks.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["Cut", "Link", "Proxy", "proxied"]

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)
PIECE = 7
"""Bytes at a time on a line that dribbles: less than the header of a frame with its mask."""


class Cut(StrEnum):
    """What can happen to a line."""

    RESET = "reset"
    """Both sides hear of the end at once."""
    CLOSE = "close"
    """As reset, but the orderly end of TCP; no WebSocket close comes before it."""
    MID_ANSWER = "mid_answer"
    """Of the next bytes of Deriv's half are delivered; then as reset."""
    MID_CALL = "mid_call"
    """Of the next bytes of the gateway half are delivered; then as reset."""
    DEAF = "deaf"
    """Deriv hears the gateway, but the answers vanish."""
    SILENT = "silent"
    """Neither side hears the other, and nobody is told."""
    SLOW = "slow"
    """Each chunk comes so much later."""
    DRIBBLE = "dribble"
    """What comes from Deriv comes in small pieces."""


class Link:
    """One connection through the proxy."""

    def __init__(self, number: int, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.number = number
        self.near = near
        self.far = far
        self.cut: Cut | None = None
        self.delay_s = 0.0
        self.up_bytes = 0
        self.down_bytes = 0
        self.is_over = False
        self._part = 0.5
        self._timer: asyncio.TimerHandle | None = None

    def hit(self, cut: Cut, delay_s: float = 0.0, part: float = 0.5, lasts_s: float = 10.0) -> None:
        """Let it happen. ``part`` is how much of the bytes that are cut in the middle is delivered; a cut that does not
        end the link at once ends it after ``lasts_s``, if nobody else has.
        """
        if self._timer is not None:
            self._timer.cancel()
        self.cut, self.delay_s, self._part = cut, delay_s, part
        match cut:
            case Cut.RESET:
                self.end(reset=True)
            case Cut.CLOSE:
                self.end(reset=False)
            case _:
                self._timer = asyncio.get_running_loop().call_later(lasts_s, self._time_up)

    def heal(self) -> None:
        """A slow link is as fast as ever again; one that is silent or deaf ends."""
        if self.cut in (Cut.SLOW, Cut.DRIBBLE):
            self.cut = None
        elif self.cut is not None:
            self.end(reset=True)

    def end(self, *, reset: bool) -> None:
        """End both sides."""
        if self._timer is not None:
            self._timer.cancel()
        if self.is_over:
            return
        self.is_over = True
        for writer in (self.near, self.far):
            if reset:
                raw = writer.get_extra_info("socket")
                if raw is not None and raw.fileno() >= 0:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                writer.close()

    async def pump(self, reader: asyncio.StreamReader, *, upwards: bool) -> None:
        """Carry one direction until the link ends."""
        writer = self.far if upwards else self.near
        try:
            while chunk := await reader.read(_CHUNK):
                if upwards:
                    self.up_bytes += len(chunk)
                else:
                    self.down_bytes += len(chunk)
                if not await self._carry(chunk, writer, upwards=upwards):
                    return
        except OSError:
            pass  # the one side has ended; the other is told below
        finally:
            # A silent line tells nobody, least of all that one side has given up.
            if self.cut is not Cut.SILENT:
                self.end(reset=False)

    async def _carry(self, chunk: bytes, writer: asyncio.StreamWriter, *, upwards: bool) -> bool:
        """Deliver a chunk as the line is; returns whether the link goes on."""
        if self.cut is Cut.SILENT or (self.cut is Cut.DEAF and not upwards):
            return True
        if self.cut is (Cut.MID_CALL if upwards else Cut.MID_ANSWER):
            writer.write(chunk[: min(len(chunk) - 1, max(1, round(len(chunk) * self._part)))])
            await writer.drain()
            # In order, so that the part is not thrown away with the rest.
            self.end(reset=False)
            return False
        if self.cut is Cut.SLOW:
            await asyncio.sleep(self.delay_s)
        if self.cut is Cut.DRIBBLE and not upwards:
            for start in range(0, len(chunk), PIECE):
                writer.write(chunk[start : start + PIECE])
                await writer.drain()
                await asyncio.sleep(0)
        else:
            writer.write(chunk)
        await writer.drain()
        return True

    def _time_up(self) -> None:
        self._timer = None
        self.heal()


class Proxy:
    """All links. ``address`` is host:port of its near side."""

    def __init__(self, upstream: str) -> None:
        self._host, _, port = upstream.rpartition(":")
        self._port = int(port)
        self.address = ""
        self.links: dict[int, Link] = {}
        self.accepted = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def lasting(self) -> list[Link]:
        """Links that carry what they are given, be it slowly, and have carried something."""
        carry = (None, Cut.SLOW, Cut.DRIBBLE)
        return [link for link in self.links.values() if link.cut in carry and not link.is_over and link.up_bytes > 0]

    def silent(self) -> int:
        """How many links nobody has heard the end of."""
        return sum(link.cut in (Cut.SILENT, Cut.DEAF) for link in self.links.values())

    def heal(self) -> None:
        """End all that is wrong."""
        for link in list(self.links.values()):
            link.heal()

    async def accept(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            far_reader, far = await asyncio.open_connection(self._host, self._port)
        except OSError:
            near.transport.abort()
            return
        self.accepted += 1
        link = self.links[self.accepted] = Link(self.accepted, near, far)
        pumps = (link.pump(near_reader, upwards=True), link.pump(far_reader, upwards=False))
        try:
            await asyncio.gather(*pumps)
            while link.cut is Cut.SILENT and not link.is_over:  # noqa: ASYNC110 - ends rarely, and nobody hurries
                await asyncio.sleep(0.1)
        finally:
            link.end(reset=True)
            del self.links[link.number]


@asynccontextmanager
async def proxied(upstream: str, host: str = "127.0.0.1") -> AsyncGenerator[Proxy, None]:
    """A proxy in front of host:port."""
    proxy = Proxy(upstream)
    server = await asyncio.start_server(proxy.accept, host, 0)
    proxy.address = f"{host}:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for link in list(proxy.links.values()):
            link.end(reset=True)
        await asyncio.sleep(0.05)
