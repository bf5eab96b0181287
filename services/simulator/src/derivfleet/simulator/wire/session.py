"""One socket: frames in, effects out, in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from derivfleet.simulator.core.effects import Close, Freeze, Send

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.clock import Clock
    from derivfleet.simulator.core.effects import Effect

__all__ = ["Session"]

_MOST_WAITING = 20_000
"""Frames that a client may leave unread. Then its socket is cut, so that it cannot fill the memory."""
_LARGEST_FRAME_BYTES = 1 << 20
_CLOSE_TIMEOUT_S = 1.0
"""Wall time for the client's side of a close."""


class Session:
    """A socket from its upgrade to its end."""

    def __init__(self, clock: Clock, request: web.Request) -> None:
        self._clock = clock
        self._request = request
        self._socket = web.WebSocketResponse(
            timeout=_CLOSE_TIMEOUT_S, max_msg_size=_LARGEST_FRAME_BYTES, compress=False
        )
        self._waiting: asyncio.Queue[Effect] = asyncio.Queue()
        self._delayed: set[asyncio.Task[None]] = set()
        self._frozen = False

    async def run(self, receive: Callable[[str | bytes], None]) -> web.WebSocketResponse:
        """Upgrade, then hand every frame to ``receive`` until the socket ends."""
        await self._socket.prepare(self._request)
        reader, writer = asyncio.create_task(self._read(receive)), asyncio.create_task(self._write())
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = (reader, writer, *self._delayed)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not reader.cancelled():
            reader.result()  # an unforeseen error of the exchange ends this socket, and is logged by the server
        if not writer.cancelled() and (goodbye := writer.result()):
            # Only now, with no reader in its way, does aiohttp wait for the client's side of the close.
            await self._socket.close(code=goodbye.code, message=goodbye.reason.encode())
        return self._socket

    def carry_out(self, effect: Effect) -> None:
        """Do what the exchange wants, after what it wanted before; a delayed frame and an abrupt end do not wait."""
        match effect:
            case Freeze():
                self._freeze()
            case Close(abrupt=abrupt, drained=drained) if (abrupt and not drained) or self._frozen:
                self.abort()
            case Send(delay_s=delay_s) if delay_s > 0:
                task = asyncio.create_task(self._later(effect))
                self._delayed.add(task)
                task.add_done_callback(self._delayed.discard)
            case _:
                self._enqueue(effect)

    def abort(self) -> None:
        """Cut the line: no close frame, nothing more sent."""
        transport = self._request.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    def _freeze(self) -> None:
        """Neither read nor send any more; what the other side sends stays in the system's buffers."""
        self._frozen = True
        transport = self._request.transport
        if isinstance(transport, asyncio.ReadTransport):
            transport.pause_reading()

    def _enqueue(self, effect: Effect) -> None:
        if self._waiting.qsize() >= _MOST_WAITING:
            self.abort()
        else:
            self._waiting.put_nowait(effect)

    async def _later(self, effect: Send) -> None:
        await self._clock.sleep(effect.delay_s)
        self._enqueue(effect)

    async def _read(self, receive: Callable[[str | bytes], None]) -> None:
        async for message in self._socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                receive(message.data)

    async def _write(self) -> Close | None:
        """Send until the socket is to be closed, or is gone (None)."""
        try:
            while True:
                match await self._waiting.get():
                    case Send(text=text) if not self._frozen:
                        await self._socket.send_str(text)
                    case Close(abrupt=True):
                        self.abort()
                        return None
                    case Close() as goodbye:
                        return goodbye
                    case _:
                        pass
        except ConnectionError:
            return None
