"""A wire tap between the gateway and Deriv's stand-in: it keeps every frame, and can cut a socket at a chosen one."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["Recorder", "tapped"]

Frame = dict[str, Any]
CLOSE_S = 0.5
"""How long the other side may take for its part of a close: one that is half-open never does it."""


class Recorder:
    """What went over the wire, by path of the socket."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.url = ""
        self.sent: list[Frame] = []
        """Frames of the gateway."""
        self.received: list[Frame] = []
        """Frames to the gateway, as far as they were let through."""
        self.cuts = 0
        self.sockets = 0
        self.renamed: tuple[str, str] | None = None
        """A text of Deriv's, and what the gateway is shown in its place: as an account's id, and that of another."""
        self._open: set[asyncio.Transport] = set()
        self._cut_at: Callable[[Frame], bool] | None = None

    def cut_at(self, answer: Callable[[Frame], bool]) -> None:
        """Cut the socket, once, in place of delivering the first answer that matches."""
        self._cut_at = answer

    def cut_all(self) -> None:
        """Cut every socket."""
        for transport in self._open:
            transport.abort()

    def _shown(self, text: str) -> str:
        return text if self.renamed is None else text.replace(*self.renamed)

    def _meant(self, text: str) -> str:
        return text if self.renamed is None else text.replace(self.renamed[1], self.renamed[0])

    async def rest(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        headers = {name: value for name, value in request.headers.items() if name in ("Authorization", "Deriv-App-ID")}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(request.method, self.upstream + request.path_qs) as answer,
        ):
            body = (await answer.text()).replace(self.upstream.replace("http", "ws"), self.url.replace("http", "ws"))
            return web.Response(text=self._shown(body), status=answer.status, content_type=answer.content_type)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        near = web.WebSocketResponse(compress=False)
        async with aiohttp.ClientSession() as session:
            try:
                timeout = aiohttp.ClientWSTimeout(ws_close=CLOSE_S)  # pyright: ignore[reportCallIssue] - its types do not show
                far = await session.ws_connect(self.upstream + request.path_qs, timeout=timeout)
            except aiohttp.WSServerHandshakeError as error:
                return web.Response(status=error.status)
            await near.prepare(request)
            self.sockets += 1
            if request.transport is not None:
                self._open.add(request.transport)  # pyright: ignore[reportArgumentType] - a TCP transport
            forward = asyncio.create_task(self._forward(near, far))
            back = asyncio.create_task(self._back(near, far, request))
            await asyncio.wait((forward, back), return_when=asyncio.FIRST_COMPLETED)
            for task in (forward, back):
                task.cancel()
            await asyncio.gather(forward, back, return_exceptions=True)
            await far.close()
            self._open.discard(request.transport)  # pyright: ignore[reportArgumentType] - as above
            if far.close_code == WSCloseCode.ABNORMAL_CLOSURE and request.transport is not None:
                request.transport.abort()  # pyright: ignore[reportAttributeAccessIssue] - a TCP transport has it
            elif request.transport is not None and not request.transport.is_closing():
                await near.close()
        return near

    async def _forward(self, near: web.WebSocketResponse, far: aiohttp.ClientWebSocketResponse) -> None:
        async for message in near:
            if message.type is WSMsgType.TEXT:
                self.sent.append(json.loads(message.data))
                await far.send_str(self._meant(message.data))

    async def _back(
        self, near: web.WebSocketResponse, far: aiohttp.ClientWebSocketResponse, request: web.Request
    ) -> None:
        async for message in far:
            if message.type is not WSMsgType.TEXT:
                continue
            frame = _frame_of(message.data)
            if self._cut_at is not None and self._cut_at(frame):
                self._cut_at = None
                self.cuts += 1
                if request.transport is not None:
                    request.transport.abort()  # pyright: ignore[reportAttributeAccessIssue] - a TCP transport has it
                return
            self.received.append(frame)
            await near.send_str(self._shown(message.data))


def _frame_of(text: str) -> Frame:
    """What a text says; garbage, which is let through like anything else, says nothing."""
    try:
        frame: Frame = json.loads(text)
    except ValueError:
        return {}
    return frame


@asynccontextmanager
async def tapped(upstream: str) -> AsyncGenerator[Recorder, None]:
    """A recorder in front of an HTTP address."""
    recorder = Recorder(upstream)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", recorder.rest)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    recorder.url = f"http://127.0.0.1:{port}"
    try:
        yield recorder
    finally:
        await runner.cleanup()
