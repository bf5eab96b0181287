"""python-deriv-api, contained.

The library is given a transport of ours and never a socket. So it cannot meet what it has no answer to:

- it hangs for ever on open calls when a socket dies: we answer each of them with an error frame first;
- its reader ends on a frame without ``echo_req`` or ``msg_type``, with an error of another form than code and message,
  or that is not JSON: such frames do not reach it;
- it spins when ``recv`` raises anything but ConnectionClosed: nothing else is raised;
- it keeps every request and every answer for ever: both are dropped after the call;
- it parses numbers as binary fractions: callers get our own decoding of the frame, in Decimal;
- it forgets a call that timed out, and with it a late answer: our side has seen the frame before it.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import TYPE_CHECKING, Any, Protocol

from websockets.exceptions import ConnectionClosedError

with warnings.catch_warnings():
    # It imports websockets.legacy, which says on import that it will go.
    warnings.simplefilter("ignore", DeprecationWarning)
    from deriv_api import DerivAPI
    from deriv_api.errors import ResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LibraryClient", "Transport"]


class Transport(Protocol):
    """Where frames go out."""

    async def transmit(self, req_id: int, text: str) -> None:
        """Hand a frame to the socket."""
        ...


class _Pipe:
    """What the library takes for a websocket."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._inbox: asyncio.Queue[str | None] = asyncio.Queue()

    async def send(self, text: str) -> None:
        await self._transport.transmit(json.loads(text)["req_id"], text)

    async def recv(self) -> str:
        text = await self._inbox.get()
        if text is None:
            raise ConnectionClosedError(None, None)
        return text

    def put(self, text: str | None) -> None:
        self._inbox.put_nowait(text)


class _NoCache:
    """The library remembers every answer; a process that runs for weeks cannot."""

    def has(self, _key: object) -> bool:
        return False

    def get(self, _key: object) -> None:
        return None

    def get_by_msg_type(self, _msg_type: object) -> None:
        return None

    def set(self, _key: object, _value: object) -> None:
        return None


def _is_readable(error: Any) -> bool:
    return not error or (isinstance(error, dict) and {"code", "message"} <= error.keys())  # pyright: ignore[reportUnknownMemberType] - it is JSON


class LibraryClient:
    """One DerivAPI object over our transport. Lives as long as one socket."""

    def __init__(self, transport: Transport) -> None:
        self._pipe = _Pipe(transport)
        library: Any = DerivAPI  # its own annotations say that every option is a string
        self._api = library(connection=self._pipe, cache=_NoCache())

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a request and return when its first answer has come, be it a result or an error.

        The answer itself is the caller's to take from where :meth:`deliver` was called.
        """
        req_id = frame["req_id"]
        try:
            await self._api.send(frame)
        except ResponseError:
            pass  # the frame has been delivered, and says more than the exception
        finally:
            self._api.pending_requests.pop(req_id, None)

    def deliver(self, req_id: int, text: str, frame: Mapping[str, Any]) -> None:
        """Give the library the first answer to a request; one that it cannot take is replaced by an error."""
        whole = isinstance(frame.get("msg_type"), str) and isinstance(frame.get("echo_req"), dict)
        if whole and _is_readable(frame.get("error")):
            self._pipe.put(text)
        else:
            self.fail(req_id, "MalformedAnswer")

    def fail(self, req_id: int, code: str) -> None:
        """Answer an open request with an error of ours."""
        error = {"code": code, "message": code}
        self._pipe.put(json.dumps({"req_id": req_id, "msg_type": "error", "echo_req": {}, "error": error}))

    def close(self) -> None:
        """End the library's reader."""
        self._pipe.put(None)
