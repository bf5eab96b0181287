"""The adapter around python-deriv-api, which contains its defects.

The library is given a transport of ours and never a socket. So it cannot meet what it has no answer to:

- it hangs for ever on open calls when a socket dies: nobody waits for it, see :meth:`LibraryAdapter.send`;
- its reader ends on a frame without ``echo_req`` or ``msg_type``, with an error of another form than code and message,
  or that is not JSON: such frames do not reach it;
- it spins when ``recv`` raises anything but ConnectionClosed: nothing else is raised;
- it keeps every request and every answer for ever: both are dropped after the call;
- it parses numbers as binary fractions: callers get our own decoding of the frame, in Decimal;
- what waits for one answer in it is six objects that call each other: we go by the source of answers behind them;
- it forgets a call that timed out, and with it a late answer: our side has seen the frame before it.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosedError

with warnings.catch_warnings():
    # It imports websockets.legacy, which says on import that it will go.
    warnings.simplefilter("ignore", DeprecationWarning)
    from deriv_api import DerivAPI

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LibraryAdapter"]


Transmit = Callable[[int, str], Awaitable[None]]
"""Hands a frame, and the id of its request, to the socket."""


class _Pipe:
    """What the library takes for a websocket."""

    def __init__(self, transmit: Transmit) -> None:
        self._transmit = transmit
        self.inbox: asyncio.Queue[str | None] = asyncio.Queue()

    async def send(self, text: str) -> None:
        await self._transmit(json.loads(text)["req_id"], text)

    async def recv(self) -> str:
        text = await self.inbox.get()
        if text is None:
            raise ConnectionClosedError(None, None)
        return text


class _NoCache:
    """The library remembers every answer; a process that runs for weeks cannot."""

    def has(self, *_: object) -> None:
        """Nothing is here."""

    get = get_by_msg_type = set = has


def _is_readable(error: Any) -> bool:
    return not error or (isinstance(error, dict) and {"code", "message"} <= error.keys())  # pyright: ignore[reportUnknownMemberType] - it is JSON


class LibraryAdapter:
    """One DerivAPI object over a socket of ours. Lives as long as one socket."""

    def __init__(self, transmit: Transmit) -> None:
        self._pipe = _Pipe(transmit)
        library: Any = DerivAPI  # its own annotations say that every option is a string
        self._api = library(connection=self._pipe, cache=_NoCache())
        self._ended: dict[int, asyncio.Future[Exception | None]] = {}

    @property
    def pending(self) -> int:
        """Calls that the library holds on to."""
        return len(self._api.pending_requests)

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a request and return when it has ended: answered, be it by a result or an error, or given up.

        The answer itself is the caller's to take from where :meth:`deliver` was called. Raises what handing over does.
        """
        req_id = frame["req_id"]
        ended = self._ended[req_id] = asyncio.get_running_loop().create_future()
        source = self._api.send_and_get_source(frame)
        source.subscribe(partial(self._forget, req_id), partial(self.end, req_id))
        try:
            error = await ended
        finally:
            del self._ended[req_id]
            if ended.cancelled():
                self._forget(req_id)
        if error is not None:
            raise error

    def deliver(self, req_id: int, text: str, frame: Mapping[str, Any]) -> None:
        """End a request by its first answer, and give that to the library if it can take it."""
        self.end(req_id)
        whole = isinstance(frame.get("msg_type"), str) and isinstance(frame.get("echo_req"), dict)
        if whole and _is_readable(frame.get("error")):
            self._pipe.inbox.put_nowait(text)
        else:
            self._forget(req_id)

    def end(self, req_id: int, error: Exception | None = None) -> None:
        """Let a request end, unless it has; ``error`` is why it could not be sent."""
        if error is not None:
            self._forget(req_id)
        ended = self._ended.get(req_id)
        if ended is not None and not ended.done():
            ended.set_result(error)

    def close(self) -> None:
        """End the library's reader."""
        self._pipe.inbox.put_nowait(None)

    def _forget(self, req_id: int, _answer: object = None) -> None:
        self._api.pending_requests.pop(req_id, None)
