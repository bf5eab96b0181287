"""Streams of the account itself, which have to go on whatever happens to a socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.deriv.errors import RATE_CODES
from derivfleet.gateway.core.quota import GATEWAY
from derivfleet.gateway.upstream.client import LOGGED_OUT_CODES
from derivfleet.gateway.upstream.pool import StreamsFullError, StreamStaysError

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.connection.connection import Connection, Frame, Stream
    from derivfleet.deriv.requests import Request
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["StandingStream"]

_log = structlog.get_logger()

PASSING_CODES = RATE_CODES | LOGGED_OUT_CODES | {"AlreadySubscribed"}
"""A stream refused with one of these is asked for again. AlreadySubscribed: the answer to an earlier request was lost,
so Deriv sends a stream that nobody takes; it is ended when its first frame arrives."""

STAY_S = 1.0
"""A stream that finds no better place looks again after so long."""


class StandingStream:
    """A stream that outlives sockets: opened again on the next one whenever its socket dies."""

    def __init__(
        self,
        client: AccountClient,
        request: Request,
        sink: Callable[[Frame], None],
        on_refused: Callable[[CallRefusedError], None] | None = None,
        after: asyncio.Task[None] | None = None,
    ) -> None:
        """``sink`` gets every frame; what happened while there was no socket has to be caught up by other means.

        ``on_refused`` gets a refusal that will not pass; the stream is then given up, without it tried again. ``after``
        is the end of an earlier stream of the same, which Deriv must hear of before it allows another.
        """
        self._client = client
        self._request = request
        self._sink = sink
        self._on_refused = on_refused
        self._after = after
        self._opened: tuple[Connection, Stream] | None = None
        self._task = asyncio.create_task(self._run(), name=f"stream {client.account}/{request.call}")

    @property
    def is_open(self) -> bool:
        """Whether the stream was opened on a socket that is open still."""
        return self._opened is not None and self._opened[0].is_open

    async def _run(self) -> None:
        if self._after is not None:
            await asyncio.wait((self._after,))
        attempt = 0
        while True:
            try:
                await self._open()
                attempt = 0
            except Exception as error:  # noqa: BLE001 - without this stream nobody hears of settlements: never give up
                is_refused = isinstance(error, CallRefusedError)
                level = _log.warning if is_refused or isinstance(error, AnswerLostError) else _log.exception
                level("stream could not be opened", call=self._request.call, problem=str(error))
                if is_refused and not _passes(error) and self._on_refused is not None:
                    self._on_refused(error)
                    return
                await self._client.clock.sleep(backoff_s(attempt, self._request.call))
                attempt += 1

    async def _open(self) -> None:
        """Open the stream where reads go and stay until it has to go elsewhere."""
        earlier = self._opened
        leaving = earlier[0] if earlier is not None and earlier[0].is_open else None
        try:
            opened = self._opened = await self._client.subscribe(GATEWAY, self._request, self._sink, leaving=leaving)
        except StreamStaysError:
            await self._client.clock.sleep(STAY_S)
        else:
            if earlier is not None:
                await self._client.leave(*earlier)
            _log.info("stream open", call=self._request.call, connection=opened[0].name)
        if self._opened is not None:
            await self._client.pool.left(self._opened[0], self._request.call)

    def cancel(self) -> None:
        """Stop listening, when the sockets are about to close anyway."""
        self._task.cancel()

    async def stop(self) -> None:
        """End the stream here and at Deriv."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._opened is not None:
            await self._client.forget(*self._opened)


def _passes(error: CallRefusedError) -> bool:
    """Whether a stream that was refused is asked for again."""
    return error.for_now if isinstance(error, StreamsFullError) else error.code in PASSING_CODES
