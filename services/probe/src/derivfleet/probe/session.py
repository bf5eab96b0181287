"""A probe's session at Deriv: every call is timed, counted against a bound, and given up if the account moves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.clock import NS_PER_S
from derivfleet.connection.connection import AnswerLostError, CallRefusedError, Stream
from derivfleet.connection.login import CredentialError, LoginError, RealMoneyError
from derivfleet.connection.timeouts import answer_timeout_s
from derivfleet.deriv import requests
from derivfleet.deriv.errors import RATE_CODES, MalformedAnswer
from derivfleet.probe.core.bounds import LOGIN_CALLS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from derivfleet.common.clock import Clock
    from derivfleet.connection.connection import Connection, Frame
    from derivfleet.connection.login import AccountFacts, Login
    from derivfleet.deriv.requests import Request
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.probe.core.bounds import Step

__all__ = ["AccountInUseError", "BrokenOffError", "Reply", "Session"]

_log = structlog.get_logger()
PING_EVERY_S = 25.0
PING_LEEWAY_S = 5.0
"""So long before a call that is timed there are no more pings."""
LOGIN_TRIES = 3
LOGIN_PAUSE_S = 2.0


def _ignore(_frame: Frame) -> None:
    """Take a frame that nobody wants."""


class BrokenOffError(Exception):
    """An experiment cannot go on; the text says why."""


class AccountInUseError(Exception):
    """Something else uses the account: nothing that is measured now can be trusted."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a call, and when, by our clock. ``code`` is Deriv's error, empty if there is none."""

    sent_ns: int
    answered_ns: int
    code: str
    frame: Frame | None = None

    @property
    def is_refused_for_rate(self) -> bool:
        return self.code in RATE_CODES


class Session:
    """The sockets of one probe. ``sockets[0]`` watches the account besides."""

    def __init__(self, login: Login, clock: Clock, on_wait: Callable[[float], None]) -> None:
        """``on_wait`` hears now and then how many seconds are still waited for."""
        self._login = login
        self.clock = clock
        self._on_wait = on_wait
        self._timeout_s = answer_timeout_s(clock)
        self.codec = login.codec
        self.sockets: list[Connection] = []
        self.facts: AccountFacts | None = None
        self.latencies_ms: defaultdict[str, list[float]] = defaultdict(list)
        self.last_call_ns: defaultdict[str, int] = defaultdict(lambda: self.began_ns)
        """By bucket, when its last call was answered."""
        self.calls = 0
        self.began_ns = clock.now_ns()
        self._movement = ""
        self._may_call = 0
        self._until_ns = 0

    def allow(self, step: Step) -> None:
        """Bound what follows: calls and time of one step."""
        self._may_call = self.calls + step.calls + LOGIN_CALLS
        self._until_ns = self.clock.now_ns() + step.most_s * NS_PER_S

    # Sockets

    async def begin(self) -> None:
        """Have a first socket that works, and listen to the account on it.

        Raises CredentialError (RealMoneyError for an account that is no demo one) or LoginError.
        """
        self.sockets = [socket for socket in self.sockets if socket.is_open]
        for number in range(LOGIN_TRIES):
            if self.sockets:
                break
            try:
                await self.connect()
            except LoginError as error:
                _log.warning("a login failed", problem=str(error))
                if number == LOGIN_TRIES - 1:
                    raise
                await self.clock.sleep(LOGIN_PAUSE_S)
        if self.sockets[0].stream_count > 0:
            return
        request = requests.Transaction(transaction=1, subscribe=1)
        reply, _ = await self.open_stream(self.sockets[0], request, self._hear)
        if reply.code:
            raise BrokenOffError(f"the account cannot be watched: {reply.code}")

    async def connect(self) -> Connection:
        """Open one more socket. Raises as :meth:`begin`."""
        self._count()
        connection, facts = await self._login.connect(f"probe/{len(self.sockets)}")
        self._touch(self._login.login_calls[0])
        if not facts.is_demo:
            await connection.close()
            raise RealMoneyError(
                "DERIV_TOKEN", f"account {facts.login_id} is no demo account: probing is for those only"
            )
        if self.facts is not None and self.facts.login_id != facts.login_id:
            await connection.close()
            raise CredentialError("DERIV_TOKEN", f"now belongs to {facts.login_id}, it was {self.facts.login_id}")
        self.facts = facts
        self.sockets.append(connection)
        return connection

    async def leave(self, connection: Connection) -> None:
        """Close a socket."""
        if connection in self.sockets:
            self.sockets.remove(connection)
        await connection.close()

    async def end(self) -> None:
        """Close everything."""
        for connection in self.sockets:
            connection.abort()
        for connection in self.sockets:
            await connection.closed()
        await self._login.close()

    def _hear(self, frame: Frame) -> None:
        try:
            movement = self.codec.decode_transaction(frame)
        except MalformedAnswer as error:
            _log.warning("a movement that nobody can read", problem=str(error))
            return
        if movement is not None:
            self._movement = f"{movement.action} of {movement.amount}"

    # Calls

    async def ask(self, request: Request, socket: int = 0) -> Reply:
        """Make one call; Deriv's refusal is an answer like any other.

        Raises BrokenOffError if there was no answer or the step's bounds are reached, AccountInUseError.
        """
        if socket >= len(self.sockets):
            raise BrokenOffError("a socket has closed")
        connection = self.sockets[socket]
        reply, _ = await self._timed(request, lambda: connection.call(request, self._timeout_s))
        return reply

    async def open_stream(
        self, connection: Connection, request: Request, sink: Callable[[Frame], None] = _ignore
    ) -> tuple[Reply, Stream | None]:
        """Open a stream. Raises as :meth:`ask`."""
        reply, opened = await self._timed(request, lambda: connection.subscribe(request, self._timeout_s, sink))
        return reply, opened if isinstance(opened, Stream) else None

    async def end_stream(self, connection: Connection, stream: Stream) -> Reply:
        """End a stream here and at Deriv. Raises as :meth:`ask`."""
        connection.drop(stream)
        request = requests.Forget(forget=stream.stream_id)
        reply, _ = await self._timed(request, lambda: connection.call(request, self._timeout_s))
        return reply

    async def alive(self) -> int:
        """How many sockets answer a ping, which is free; the others are given up."""
        for connection in list(self.sockets):
            try:
                await connection.call(requests.Ping(ping=1), self._timeout_s)
            except (AnswerLostError, CallRefusedError):
                self.sockets.remove(connection)
                connection.abort()
        return len(self.sockets)

    async def wait_until_ns(self, at_ns: int) -> None:
        """Let time pass, with a ping now and then that keeps the sockets open."""
        while (left_s := (at_ns - self.clock.now_ns()) / NS_PER_S) > 0:
            self.check()
            self._on_wait(left_s)
            if left_s <= PING_EVERY_S + PING_LEEWAY_S:
                break
            await self.clock.sleep(PING_EVERY_S)
            first = self.sockets[0]
            await self.alive()
            if first not in self.sockets:
                raise BrokenOffError("the socket has closed")
        await self.clock.sleep_until_ns(at_ns)

    async def _timed(
        self, request: Request, make: Callable[[], Awaitable[Frame | Stream]]
    ) -> tuple[Reply, Frame | Stream | None]:
        self._count()
        result: Frame | Stream | None = None
        code = ""
        sent_ns = self.clock.now_ns()
        try:
            result = await make()
        except CallRefusedError as error:
            code = error.code
        except AnswerLostError as error:
            raise BrokenOffError(f"{request.call} was not answered: {error.code}") from None
        finally:
            answered_ns = self.clock.now_ns()
            self._touch(request.call)
        if not code:
            self.latencies_ms[request.call].append(self.clock.wall_s((answered_ns - sent_ns) / NS_PER_S) * 1e3)
        return Reply(sent_ns, answered_ns, code, None if isinstance(result, Stream) else result), result

    def _count(self) -> None:
        self.check()
        if self.calls >= self._may_call:
            raise BrokenOffError("it took more calls than it may")
        self.calls += 1

    def check(self) -> None:
        """Raises AccountInUseError if the account has moved, BrokenOffError if the step takes too long."""
        if self._movement:
            raise AccountInUseError(f"the account has moved meanwhile ({self._movement})")
        if self.clock.now_ns() > self._until_ns:
            raise BrokenOffError("it took longer than it may")

    def _touch(self, call: Call) -> None:
        bucket = self.codec.limits.bucket_of(call)
        if bucket is not None:
            self.last_call_ns[bucket.name] = self.clock.now_ns()
