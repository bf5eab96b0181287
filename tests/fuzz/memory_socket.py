"""A websocket in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from websockets.exceptions import ConnectionClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Socket"]


class Socket:
    """What a websocket is to its client. ``take`` gets what is sent, ``leave`` hears of the end."""

    def __init__(self, take: Callable[[str], None], leave: Callable[[], None] | None = None) -> None:
        self.close_code: int | None = None
        self.transport = self
        self._take = take
        self._leave = leave
        self._inbox: asyncio.Queue[str | None] = asyncio.Queue()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        text = await self._inbox.get()
        if text is None:
            raise StopAsyncIteration
        return text

    async def send(self, text: str) -> None:
        if self.close_code is not None:
            raise ConnectionClosedError(None, None)
        self._take(text)

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if self.close_code is None:
            self.close_code = 1006
            self._inbox.put_nowait(None)
            if self._leave is not None:
                self._leave()

    def put(self, text: str) -> None:
        self._inbox.put_nowait(text)
