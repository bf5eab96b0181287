"""An account's line to Deriv: a call gets its turn, its connection and its span here, and nowhere else."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.common.spans import Attribute, SpanName
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.connection.timeouts import answer_timeout_s
from derivfleet.deriv import requests
from derivfleet.deriv.errors import RATE_CODES
from derivfleet.gateway.core.schedule import GATEWAY, Refusal
from derivfleet.gateway.upstream.pool import Role, StreamsFullError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.context import Context

    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.connection.connection import Connection, Frame, Stream
    from derivfleet.deriv.requests import Request
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.schedule import Rank, Schedule, Ticket
    from derivfleet.gateway.upstream.pool import Pool
    from derivfleet.gateway.upstream.turns import Turns

__all__ = ["Line", "NotConnectedError", "Standing", "TurnRefusedError"]

_log = structlog.get_logger()
T = TypeVar("T")

LOGGED_OUT_CODES = frozenset({"AuthorizationRequired", "InvalidToken"})
"""The socket will refuse every further call of the account; only a new login helps."""
PASSING_CODES = RATE_CODES | LOGGED_OUT_CODES | {"AlreadySubscribed"}
"""A stream refused with one of these is asked for again. AlreadySubscribed: the answer to an earlier request was lost,
so Deriv sends a stream that nobody takes; it is ended when its first frame arrives."""

STAY_S = 1.0
"""A stream that finds no better place looks again after so long."""


class TurnRefusedError(Exception):
    """The call cannot start before its deadline. It was not sent."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(
            f"would start in {refusal.wait_ns / 1e9:.1f} s because of {refusal.binding}"
            if refusal.binding
            else "there is no usable connection to Deriv"
        )
        self.refusal = refusal


class NotConnectedError(TurnRefusedError):
    """There was no usable connection to Deriv before the deadline. The call was not sent."""


class StreamStaysError(Exception):
    """A stream that was to leave a connection has no better place. Nothing was sent."""


class Line:
    """Calls and streams of one account, within its limits."""

    def __init__(self, pool: Pool, turns: Turns, clock: Clock, telemetry: Telemetry) -> None:
        self.pool = pool
        self.turns = turns
        self.clock = clock
        self._telemetry = telemetry
        self.calls_sent = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Of the calls that were sent, by kind."""
        self.refused: Counter[str] = Counter()
        """Calls that got no turn, by kind."""
        self.rejected_by_deriv = 0
        self._strays: set[asyncio.Task[None]] = set()
        pool.on_stray = self._end_stray

    @property
    def account(self) -> str:
        return self.pool.account

    @property
    def schedule(self) -> Schedule:
        return self.turns.schedule

    def ask(self, bot: str, call: Call, deadline_ns: int | None, rank: Rank | None = None) -> Ticket:
        """Join the queue for a call made soon. Raises TurnRefusedError if it could not start by its deadline."""
        ticket = self.turns.ask(bot, call, deadline_ns, rank)
        if isinstance(ticket, Refusal):
            self.refused[call] += 1
            raise TurnRefusedError(ticket)
        return ticket

    async def call(
        self,
        bot: str,
        request: Request,
        role: Role = Role.READS,
        deadline_ns: int | None = None,
        parent: Context | None = None,
        on_sending: Callable[[], None] | None = None,
        on_late: Callable[[Frame], None] | None = None,
        rank: Rank | None = None,
        asked: Ticket | None = None,
    ) -> Frame:
        """Make one call when it is its turn.

        ``on_sending`` runs right before the frame is handed over; ``rank`` says how much hangs on the call, if that is
        not plain from its kind; ``asked`` is its place in the queue, if it has one already. Raises TurnRefusedError
        (not sent), CallRefusedError (Deriv's error) or AnswerLostError (see ``handed_over``).
        """
        ticket, connection = await self._turn(bot, request, role, deadline_ns, parent, rank, asked)
        if on_sending is not None:
            try:
                on_sending()
            except BaseException:
                self.turns.unsent(ticket)
                raise
        return await self._sent(
            ticket, request, connection, parent, lambda timeout_s: connection.call(request, timeout_s, on_late)
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
        """Open a stream when it is its turn; ``sink`` gets every frame.

        Raises as :meth:`call`; StreamsFullError (a CallRefusedError) if no socket has room, StreamStaysError if the
        best place is the connection that it is ``leaving``.
        """
        self._place(request, leaving)  # before it waits for a turn in vain
        ticket, connection = await self._turn(bot, request, Role.READS, deadline_ns, parent)
        try:
            connection = self._place(request, leaving) or connection
        except BaseException:
            self.turns.unsent(ticket)
            raise
        return connection, await self._sent(
            ticket, request, connection, parent, lambda timeout_s: connection.subscribe(request, timeout_s, sink)
        )

    def _place(self, request: Request, leaving: Connection | None) -> Connection | None:
        place = self.pool.stream_connection(request.call, leaving)
        if place is leaving is not None:
            raise StreamStaysError
        return place

    async def _turn(
        self,
        bot: str,
        request: Request,
        role: Role,
        deadline_ns: int | None,
        parent: Context | None,
        rank: Rank | None = None,
        asked: Ticket | None = None,
    ) -> tuple[Ticket, Connection]:
        # Who is refused at once does not wait, so there is no span of it.
        ticket = asked or self.ask(bot, request.call, deadline_ns, rank)
        attributes = {Attribute.ACCOUNT: self.account, Attribute.BOT: bot, Attribute.CALL: request.call}
        span = self._telemetry.start(SpanName.QUOTA_WAIT, attributes, parent, ticket.asked_ns)
        try:
            while True:
                turn = await self.turns.granted(ticket)
                if isinstance(turn, Refusal):
                    self.refused[request.call] += 1
                    raise TurnRefusedError(turn)  # noqa: TRY301 - as what is refused at once
                span.set({Attribute.BUCKET: ticket.binding or ticket.bucket})
                connection = self.pool.connection(role)
                if connection is not None:
                    return ticket, connection
                # A turn is for its moment. If those who waited for a socket kept theirs, all would start at once.
                self.turns.unsent(ticket)
                left_s = None if deadline_ns is None else (deadline_ns - self.clock.now_ns()) / 1e9
                try:
                    async with self.clock.timeout(left_s):
                        await self.pool.ready(role)
                except TimeoutError:
                    waited_ns = self.clock.now_ns() - ticket.granted_ns
                    raise NotConnectedError(Refusal(ticket.bucket, waited_ns, "")) from None
                ticket = self.ask(bot, request.call, deadline_ns, rank)
        except TurnRefusedError as error:
            span.fail("NOT_CONNECTED" if isinstance(error, NotConnectedError) else "TURN_REFUSED", str(error))
            raise
        finally:
            span.end()

    async def _sent(
        self,
        ticket: Ticket,
        request: Request,
        connection: Connection,
        parent: Context | None,
        send: Callable[[float], Awaitable[T]],
    ) -> T:
        """Send, with a span and the counters around it; ``send`` gets how long the answer is waited for."""
        attributes = {
            Attribute.ACCOUNT: self.account,
            Attribute.BOT: ticket.bot,
            Attribute.CALL: request.call,
            Attribute.CONNECTION: connection.name,
        }
        timeout_s = answer_timeout_s(self.clock)
        span = self._telemetry.start(SpanName.DERIV_CALL, attributes, parent)
        self.calls_sent += 1
        settle, outcome = self.turns.lost, "lost"
        try:
            answer = await send(timeout_s)
            settle, outcome = self.turns.landed, "answered"
        except CallRefusedError as error:
            settle, outcome = self.turns.landed, "refused"
            span.fail(error.code, error.message)
            if error.code in RATE_CODES:
                span.set({Attribute.RATE_REFUSED: True})
                self.rejected_by_deriv += 1
                self.schedule.refused_by_deriv(request.call, self.clock.now_ns())
                _log.error("Deriv refused a call for rate", account=self.account, call=request.call)
            elif error.code in LOGGED_OUT_CODES:
                _log.error("Deriv has logged a socket out, replacing it", connection=connection.name, code=error.code)
                connection.retire()
            raise
        except AnswerLostError as error:
            span.fail(error.code)
            if not error.handed_over:
                settle, outcome = self.turns.unsent, "unsent"
            raise
        else:
            return answer
        finally:
            settle(ticket)
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
            connection.ended(stream.stream_id)

    async def _end(self, connection: Connection, stream_id: str) -> None:
        try:
            if connection.is_open and stream_id:
                request = requests.Forget(forget=stream_id)
                ticket, _ = await self._turn(GATEWAY, request, Role.READS, None, None)
                await self._sent(
                    ticket, request, connection, None, lambda timeout_s: connection.call(request, timeout_s)
                )
        except (AnswerLostError, CallRefusedError, TurnRefusedError, ValueError) as error:
            if connection.is_open:
                _log.warning("a stream could not be ended", connection=connection.name, problem=str(error))
        finally:
            connection.ended(stream_id)

    def _end_stray(self, connection: Connection, stream_id: str) -> None:
        _log.warning("ending a stream that nobody takes", connection=connection.name)
        task = asyncio.create_task(self._end(connection, stream_id), name=f"end a stray of {connection.name}")
        self._strays.add(task)
        task.add_done_callback(self._strays.discard)


class Standing:
    """A stream that outlives sockets: opened again on the next one whenever its socket dies."""

    def __init__(
        self,
        line: Line,
        request: Request,
        sink: Callable[[Frame], None],
        on_refused: Callable[[CallRefusedError], None] | None = None,
        after: asyncio.Task[None] | None = None,
    ) -> None:
        """``sink`` gets every frame; what happened while there was no socket has to be caught up by other means.

        ``on_refused`` gets a refusal that will not pass; the stream is then given up, without it tried again. ``after``
        is the end of an earlier stream of the same, which Deriv must hear of before it allows another.
        """
        self._line = line
        self._request = request
        self._sink = sink
        self._on_refused = on_refused
        self._after = after
        self._opened: tuple[Connection, Stream] | None = None
        self._task = asyncio.create_task(self._run(), name=f"standing {line.account}/{request.call}")

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
            except CallRefusedError as error:
                _log.warning("stream refused", call=self._request.call, code=error.code, problem=error.message)
                if not _passes(error) and self._on_refused is not None:
                    self._on_refused(error)
                    return
                await self._line.clock.sleep(backoff_s(attempt, self._request.call))
                attempt += 1
            except Exception as error:  # noqa: BLE001 - without this stream nobody hears of settlements: never give up
                level = _log.warning if isinstance(error, AnswerLostError) else _log.exception
                level("stream could not be opened, trying again", call=self._request.call, problem=str(error))
                await self._line.clock.sleep(backoff_s(attempt, self._request.call))
                attempt += 1

    async def _open(self) -> None:
        """Open the stream where reads go and stay until it has to go elsewhere."""
        earlier = self._opened
        leaving = earlier[0] if earlier is not None and earlier[0].is_open else None
        try:
            opened = self._opened = await self._line.subscribe(GATEWAY, self._request, self._sink, leaving=leaving)
        except StreamStaysError:
            await self._line.clock.sleep(STAY_S)
        else:
            if earlier is not None:
                await self._line.leave(*earlier)
            _log.info("stream open", call=self._request.call, connection=opened[0].name)
        if self._opened is not None:
            await self._line.pool.left(self._opened[0], self._request.call)

    def cancel(self) -> None:
        """Stop listening, when the sockets are about to close anyway."""
        self._task.cancel()

    async def stop(self) -> None:
        """End the stream here and at Deriv."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._opened is not None:
            await self._line.forget(*self._opened)


def _passes(error: CallRefusedError) -> bool:
    """Whether a stream that was refused is asked for again."""
    return error.for_now if isinstance(error, StreamsFullError) else error.code in PASSING_CODES
