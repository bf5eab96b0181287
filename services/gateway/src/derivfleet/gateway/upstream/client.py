"""An account's client of Deriv: a call gets its permit, its connection and its span here, and nowhere else."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import structlog

from derivfleet.common.spans import Attribute, SpanName
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.connection.timeouts import answer_timeout_s
from derivfleet.deriv import requests
from derivfleet.deriv.errors import RATE_CODES
from derivfleet.gateway.core.orders.denials import Denial, DeniedError, LimitReached, NotConnected
from derivfleet.gateway.core.quota import GATEWAY, PermitDenied
from derivfleet.gateway.upstream.pool import ConnectionRole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.context import Context

    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.connection.connection import Connection, Frame, Stream
    from derivfleet.deriv.requests import Request
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.quota import Permit, Rank
    from derivfleet.gateway.upstream.admission import Admission
    from derivfleet.gateway.upstream.pool import Pool

__all__ = ["AccountClient"]

_log = structlog.get_logger()
T = TypeVar("T")

LOGGED_OUT_CODES = frozenset({"AuthorizationRequired", "InvalidToken"})
"""The socket will refuse every further call of the account; only a new login helps."""


class AccountClient:
    """Calls and streams of one account, within its limits."""

    def __init__(self, pool: Pool, admission: Admission, clock: Clock, telemetry: Telemetry) -> None:
        self.pool = pool
        self.account = pool.account
        self.admission = admission
        self.quota = admission.quota
        self.clock = clock
        self._telemetry = telemetry
        self.calls_sent = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Of the calls that were sent, by kind."""
        self.refused: Counter[str] = Counter()
        """Calls that got no permit, by kind."""
        self.rejected_by_deriv = 0
        self._strays: set[asyncio.Task[None]] = set()
        pool.on_stray = self._end_stray

    def ask(self, bot: str, call: Call, deadline_ns: int | None, rank: Rank | None = None) -> Permit:
        """Join the queue for a call made soon. Raises DeniedError if it could not start by its deadline."""
        permit = self.admission.ask(bot, call, deadline_ns, rank)
        if isinstance(permit, PermitDenied):
            self.refused[call] += 1
            raise DeniedError(_denial(permit))
        return permit

    async def call(
        self,
        bot: str,
        request: Request,
        role: ConnectionRole = ConnectionRole.READS,
        deadline_ns: int | None = None,
        parent: Context | None = None,
        on_sending: Callable[[], None] | None = None,
        on_late: Callable[[Frame], None] | None = None,
        rank: Rank | None = None,
        asked: Permit | None = None,
    ) -> Frame:
        """Make one call as soon as it is permitted.

        ``on_sending`` runs right before the frame is handed over; ``rank`` says how much hangs on the call, if that is
        not plain from its kind; ``asked`` is its place in the queue, if it has one already. Raises DeniedError
        (not sent), CallRefusedError (Deriv's error) or AnswerLostError (see ``handed_over``).
        """
        permit, connection = await self._permitted(bot, request, role, deadline_ns, parent, rank, asked)
        if on_sending is not None:
            try:
                on_sending()
            except BaseException:
                self.admission.unsent(permit)
                raise
        return await self._sent(
            permit, request, connection, parent, lambda timeout_s: connection.call(request, timeout_s, on_late)
        )

    async def subscribe(
        self,
        bot: str,
        request: Request,
        sink: Callable[[Frame], None],
        deadline_ns: int | None = None,
        parent: Context | None = None,
        leaving: Connection | None = None,
    ) -> tuple[Connection, Stream]:
        """Open a stream as soon as it is permitted; ``sink`` gets every frame.

        Raises as :meth:`call`; StreamsFullError (a CallRefusedError) if no socket has room, StreamStaysError if the
        best place is the connection that it is ``leaving``.
        """
        self.pool.stream_connection(request.call, leaving)  # before it waits for a permit in vain
        permit, connection = await self._permitted(bot, request, ConnectionRole.READS, deadline_ns, parent)
        try:
            connection = self.pool.stream_connection(request.call, leaving) or connection
        except BaseException:
            self.admission.unsent(permit)
            raise
        return connection, await self._sent(
            permit, request, connection, parent, lambda timeout_s: connection.subscribe(request, timeout_s, sink)
        )

    async def _permitted(
        self,
        bot: str,
        request: Request,
        role: ConnectionRole,
        deadline_ns: int | None,
        parent: Context | None,
        rank: Rank | None = None,
        asked: Permit | None = None,
    ) -> tuple[Permit, Connection]:
        # Who is refused at once does not wait, so there is no span of it.
        permit = asked or self.ask(bot, request.call, deadline_ns, rank)
        attributes = {Attribute.ACCOUNT: self.account, Attribute.BOT: bot, Attribute.CALL: request.call}
        span = self._telemetry.start(SpanName.QUOTA_WAIT, attributes, parent, permit.asked_ns)
        try:
            while True:
                answer = await self.admission.granted(permit)
                if isinstance(answer, PermitDenied):
                    self.refused[request.call] += 1
                    raise DeniedError(_denial(answer))  # noqa: TRY301 - as what is denied at once
                span.set({Attribute.BUCKET: permit.binding or permit.bucket})
                connection = self.pool.connection(role)
                if connection is not None:
                    return permit, connection
                # A permit is for its moment. If those who waited for a socket kept theirs, all would start at once.
                self.admission.unsent(permit)
                left_s = None if deadline_ns is None else (deadline_ns - self.clock.now_ns()) / 1e9
                try:
                    async with self.clock.timeout(left_s):
                        await self.pool.ready(role)
                except TimeoutError:
                    waited_ns = self.clock.now_ns() - permit.granted_ns
                    raise DeniedError(NotConnected(wait_ns=waited_ns)) from None
                permit = self.ask(bot, request.call, deadline_ns, rank)
        except DeniedError as error:
            span.fail("NOT_CONNECTED" if isinstance(error.denial, NotConnected) else "TURN_REFUSED", str(error))
            raise
        finally:
            span.end()

    async def _sent(
        self,
        permit: Permit,
        request: Request,
        connection: Connection,
        parent: Context | None,
        send: Callable[[float], Awaitable[T]],
    ) -> T:
        """Send, with a span and the counters around it; ``send`` gets how long the answer is waited for."""
        attributes = {
            Attribute.ACCOUNT: self.account,
            Attribute.BOT: permit.bot,
            Attribute.CALL: request.call,
            Attribute.CONNECTION: connection.name,
        }
        timeout_s = answer_timeout_s(self.clock)
        span = self._telemetry.start(SpanName.DERIV_CALL, attributes, parent)
        self.calls_sent += 1
        settle, outcome = self.admission.lost, "lost"
        try:
            answer = await send(timeout_s)
            settle, outcome = self.admission.landed, "answered"
        except CallRefusedError as error:
            settle, outcome = self.admission.landed, "refused"
            span.fail(error.code, error.message)
            if error.code in RATE_CODES:
                span.set({Attribute.RATE_REFUSED: True})
                self.rejected_by_deriv += 1
                self.quota.refused_by_deriv(request.call, self.clock.now_ns())
                _log.error("Deriv refused a call for rate", account=self.account, call=request.call)
            elif error.code in LOGGED_OUT_CODES:
                _log.error("Deriv has logged a socket out, replacing it", connection=connection.name, code=error.code)
                connection.retire()
            raise
        except AnswerLostError as error:
            span.fail(error.code)
            if not error.handed_over:
                settle, outcome = self.admission.unsent, "unsent"
            raise
        else:
            return answer
        finally:
            settle(permit)
            self.outcomes[request.call, outcome] += 1
            span.end()

    async def forget(self, connection: Connection, stream: Stream) -> None:
        """End a stream here and at Deriv; on a dead socket it has ended anyway."""
        connection.drop(stream)
        await self._end(connection, stream.stream_id)

    async def leave(self, connection: Connection, stream: Stream) -> None:
        """End a stream that goes on elsewhere: what Deriv has sent before it hears of that is still taken."""
        try:
            await self._end(connection, stream.stream_id)
        finally:
            connection.drop(stream)

    async def _end(self, connection: Connection, stream_id: str) -> None:
        connection.ending.add(stream_id)
        try:
            if connection.is_open and stream_id:
                request = requests.Forget(forget=stream_id)
                permit, _ = await self._permitted(GATEWAY, request, ConnectionRole.READS, None, None)
                await self._sent(
                    permit, request, connection, None, lambda timeout_s: connection.call(request, timeout_s)
                )
        except (AnswerLostError, CallRefusedError, DeniedError, ValueError) as error:
            if connection.is_open:
                _log.warning("a stream could not be ended", connection=connection.name, problem=str(error))
        finally:
            connection.ending.discard(stream_id)

    def _end_stray(self, connection: Connection, stream_id: str) -> None:
        _log.warning("ending a stream that nobody takes", connection=connection.name)
        task = asyncio.create_task(self._end(connection, stream_id), name=f"end a stray of {connection.name}")
        self._strays.add(task)
        task.add_done_callback(self._strays.discard)


def _denial(denied: PermitDenied) -> Denial:
    if not denied.binding:
        return NotConnected(wait_ns=denied.wait_ns)
    return LimitReached(denied.binding, wait_ns=denied.wait_ns)
