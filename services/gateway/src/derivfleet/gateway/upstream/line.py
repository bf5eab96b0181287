"""An account's line to Deriv: a call gets its turn, its connection and its span here, and nowhere else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.common.spans import Attribute, SpanName
from derivfleet.deriv import requests
from derivfleet.gateway.core.schedule import GATEWAY, Refusal
from derivfleet.gateway.upstream.connection import AnswerLostError, CallRefusedError
from derivfleet.gateway.upstream.pool import Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.context import Context

    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.deriv.requests import Request
    from derivfleet.gateway.core.schedule import Schedule
    from derivfleet.gateway.upstream.connection import Connection, Frame, Stream
    from derivfleet.gateway.upstream.pool import Pool

__all__ = ["Line", "NotConnectedError", "Standing", "TurnRefusedError"]

_log = structlog.get_logger()
T = TypeVar("T")

CALL_PATIENCE_S = 15.0
"""How long an answer is waited for; a single user has reported 7 s for a buy."""
LEAST_PATIENCE_WALL_S = 5.0
RATE_CODES = frozenset({"RateLimit", "RateLimitExceeded"})


class TurnRefusedError(Exception):
    """The call cannot start before its deadline. It was not sent."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(
            f"would start in {refusal.wait_ns / 1e9:.1f} s because of {refusal.binding}"
            if refusal.binding
            else "there is no connection to Deriv"
        )
        self.refusal = refusal


class NotConnectedError(TurnRefusedError):
    """There was no connection to Deriv before the deadline. The call was not sent."""


class Line:
    """Calls and streams of one account, within its limits."""

    def __init__(self, pool: Pool, schedule: Schedule, clock: Clock, telemetry: Telemetry) -> None:
        self.pool = pool
        self.schedule = schedule
        self.clock = clock
        self._telemetry = telemetry
        self.calls_sent = 0
        self.rejected_by_deriv = 0

    @property
    def account(self) -> str:
        return self.pool.account

    async def call(
        self,
        bot: str,
        request: Request,
        role: Role = Role.READS,
        deadline_ns: int | None = None,
        parent: Context | None = None,
        on_sending: Callable[[], None] | None = None,
        on_late: Callable[[Frame], None] | None = None,
    ) -> Frame:
        """Make one call when it is its turn.

        ``on_sending`` runs right before the frame is handed over. Raises TurnRefusedError (not sent), CallRefusedError
        (Deriv's error) or AnswerLostError (see ``handed_over``).
        """
        connection = await self._turn(bot, request, role, deadline_ns, parent)
        if on_sending is not None:
            on_sending()
        return await self._sent(
            bot, request, connection, parent, lambda patience_s: connection.call(request, patience_s, on_late)
        )

    async def subscribe(
        self,
        bot: str,
        request: Request,
        sink: Callable[[Frame], None],
        deadline_ns: int | None = None,
        parent: Context | None = None,
    ) -> tuple[Connection, Stream]:
        """Open a stream when it is its turn; ``sink`` gets every frame after the first. Raises as :meth:`call`."""
        connection = await self._turn(bot, request, Role.READS, deadline_ns, parent)
        return connection, await self._sent(
            bot, request, connection, parent, lambda patience_s: connection.subscribe(request, patience_s, sink)
        )

    async def _turn(
        self, bot: str, request: Request, role: Role, deadline_ns: int | None, parent: Context | None
    ) -> Connection:
        attributes = {Attribute.ACCOUNT: self.account, Attribute.BOT: bot, Attribute.CALL: request.call}
        span = self._telemetry.start(SpanName.QUOTA_WAIT, attributes, parent)
        turn = self.schedule.reserve(bot, request.call, self.clock.now_ns(), deadline_ns)
        if isinstance(turn, Refusal):
            error = TurnRefusedError(turn)
            span.fail("TURN_REFUSED", str(error))
            span.end()
            raise error
        try:
            span.set({Attribute.BUCKET: turn.binding or turn.bucket})
            try:
                await self.clock.sleep_until_ns(turn.start_ns)
                connection = self.pool.connection(role)
                if connection is not None:
                    return connection
                left_s = None if deadline_ns is None else (deadline_ns - self.clock.now_ns()) / 1e9
                async with self.clock.timeout(left_s):
                    return await self.pool.ready(role)
            except TimeoutError:
                self.schedule.give_back(turn)
                span.fail("NOT_CONNECTED")
                waited_ns = self.clock.now_ns() - turn.start_ns
                raise NotConnectedError(Refusal(turn.bucket, waited_ns, "")) from None
            except asyncio.CancelledError:
                self.schedule.give_back(turn)
                raise
        finally:
            span.end()

    async def _sent(
        self,
        bot: str,
        request: Request,
        connection: Connection,
        parent: Context | None,
        send: Callable[[float], Awaitable[T]],
    ) -> T:
        """Send, with a span and the counters around it; ``send`` gets the patience for the answer in seconds."""
        attributes = {
            Attribute.ACCOUNT: self.account,
            Attribute.BOT: bot,
            Attribute.CALL: request.call,
            Attribute.CONNECTION: connection.name,
        }
        patience_s = max(CALL_PATIENCE_S, self.clock.fleet_s(LEAST_PATIENCE_WALL_S))
        span = self._telemetry.start(SpanName.DERIV_CALL, attributes, parent)
        self.calls_sent += 1
        try:
            return await send(patience_s)
        except CallRefusedError as error:
            span.fail(error.code, error.message)
            if error.code in RATE_CODES:
                span.set({Attribute.RATE_REFUSED: True})
                self.rejected_by_deriv += 1
                self.schedule.refused_by_deriv(request.call, self.clock.now_ns())
                _log.error("Deriv refused a call for rate", account=self.account, call=request.call)
            raise
        except AnswerLostError as error:
            span.fail(error.code)
            raise
        finally:
            span.end()

    async def forget(self, connection: Connection, stream: Stream) -> None:
        """End a stream here and at Deriv; on a dead socket it has ended anyway."""
        connection.drop(stream)
        if not connection.is_open or not stream.stream_id:
            return
        try:
            request = requests.Forget(forget=stream.stream_id)
            await self._turn(GATEWAY, request, Role.READS, None, None)
            await self._sent(
                GATEWAY, request, connection, None, lambda patience_s: connection.call(request, patience_s)
            )
        except (AnswerLostError, CallRefusedError) as error:
            _log.debug("a stream could not be ended", problem=str(error))


class Standing:
    """A stream that outlives sockets: opened again on the next one whenever its socket dies."""

    def __init__(
        self,
        line: Line,
        request: Request,
        sink: Callable[[Frame], None],
        on_open: Callable[[Frame], None],
        on_refused: Callable[[CallRefusedError], None] | None = None,
    ) -> None:
        """``on_open`` gets the first answer each time: what happened in between has to be caught up by then.

        ``on_refused`` gets Deriv's refusal for anything but rate; the stream is then given up.
        """
        self._line = line
        self._request = request
        self._sink = sink
        self._on_open = on_open
        self._on_refused = on_refused
        self._opened: tuple[Connection, Stream] | None = None
        self._task = asyncio.create_task(self._run(), name=f"standing {line.account}/{request.call}")

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                connection, stream = await self._line.subscribe(GATEWAY, self._request, self._sink)
            except CallRefusedError as error:
                _log.warning("stream refused", call=self._request.call, code=error.code, problem=error.message)
                if error.code not in RATE_CODES and self._on_refused is not None:
                    self._on_refused(error)
                    return
                await self._line.clock.sleep(backoff_s(attempt, self._request.call))
                attempt += 1
                continue
            except AnswerLostError:
                await self._line.clock.sleep(backoff_s(attempt, self._request.call))
                attempt += 1
                continue
            attempt = 0
            self._opened = connection, stream
            self._on_open(stream.first)
            await connection.closed()

    def cancel(self) -> None:
        """Stop listening, when the sockets are about to close anyway."""
        self._task.cancel()

    async def stop(self) -> None:
        """End the stream here and at Deriv."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._opened is not None:
            await self._line.forget(*self._opened)
