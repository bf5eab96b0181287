"""The sockets of one account: each in a slot with a purpose, kept healthy, replaced when it dies.

Orders go over one socket; the transaction stream, reads and reconciling over the other, so that what happened to an
order can be learned while its own socket is dead. Where a socket is slow, silent, full or gone, the other serves both.

What is bound to a socket is spent on it: the id of a proposal can be bought only where it was asked for, so a quote and
its purchase would be one placement. Nothing is bound today: orders are bought by their parameters, on any socket.

A call is placed when it is sent and never again: if its socket dies, its answer is lost, and is not asked for by
sending it twice.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.common.clock import NS_PER_S
from derivfleet.connection.connection import CallRefusedError, Connection
from derivfleet.connection.core.health import Verdict
from derivfleet.connection.login import AccountFacts, CredentialError, Login, LoginError
from derivfleet.gateway.core.connections.login_queue import LoginQueue
from derivfleet.gateway.upstream.health_monitor import monitor
from derivfleet.gateway.upstream.slots import SLOTS, ConnectionRole, Slot, SlotState

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.clock import Clock
    from derivfleet.deriv.vocabulary import Call

__all__ = ["ConnectionRole", "Pool", "Slot", "SlotState", "StreamStaysError", "StreamsFullError"]

_log = structlog.get_logger()

CLOSE_TIMEOUT_WALL_S = 2.0
HEALTHY_AFTER_S = 60.0
"""A socket that lived this long resets its slot's backoff."""
BEREFT_S = 5.0
"""A slot waits no longer for its next socket while the account has none at all: exits and lost orders wait for it."""


class StreamStaysError(Exception):
    """A stream that was to leave a connection has no better place. Nothing was sent."""


class StreamsFullError(CallRefusedError):
    """No socket has room for another stream: refused here, Deriv was not asked.

    ``for_now``: a slot is empty, and when it is filled there may be room.
    """

    def __init__(self, call: str, sockets: int, streams: int, *, for_now: bool) -> None:
        problem = "no room for another stream: {} open sockets hold {} streams, and Deriv caps the streams of a socket"
        super().__init__(call, "STREAMS_FULL", problem.format(sockets, streams))
        self.for_now = for_now


class Pool:
    """The slots of one account."""

    def __init__(
        self, account: str, login: Login, clock: Clock, count_calls: Callable[[tuple[Call, ...]], None]
    ) -> None:
        """``count_calls`` is told the calls that each login makes."""
        self.account = account
        self._count_calls = count_calls
        self.login = login
        self._clock = clock
        self.slots = {role: Slot(role, clock.now_ns()) for role in SLOTS}
        self.facts: AccountFacts | None = None
        self.login_id = ""
        """The only one of Deriv's accounts that may log in; empty if any may."""
        self.on_login: Callable[[str], None] | None = None
        """Hears which one it is, with each connection."""
        self.on_stray: Callable[[Connection, str], None] | None = None
        """Given to every connection."""
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._queue = LoginQueue(account, login.codec.limits.connections_per_user)
        self._logging_in = asyncio.Lock()

    async def start(self) -> None:
        """Fill the first slot, then keep all of them filled.

        Raises CredentialError if Deriv does not accept the credential. If Deriv is not there yet, returns and goes on
        trying.
        """
        try:
            await self._log_in(self.slots[ConnectionRole.ORDERS])
        except LoginError as error:
            self._report(self.slots[ConnectionRole.ORDERS], str(error))
        self._tasks = [
            asyncio.create_task(self._keep(slot), name=f"keep {self.account}/{slot.role}")
            for slot in self.slots.values()
        ]

    # Placement

    def connection(self, role: ConnectionRole) -> Connection | None:
        """The best connection for a call: the healthier, then the role's own; None if there is no usable one."""
        usable = [(home, connection) for home, connection in self._open if _admits(connection, role)]
        return _best(usable, role)

    def stream_connection(self, call: Call, leaving: Connection | None = None) -> Connection | None:
        """The best connection that has room for a stream; None if none is open.

        Raises StreamsFullError if all that are open are full, StreamStaysError if the best is the one to be left.
        """
        usable = self._open
        with_room = [
            (home, connection)
            for home, connection in usable
            if connection is leaving or connection.has_stream_room(call)
        ]
        if usable and not with_room:
            streams = sum(connection.stream_count for _, connection in usable)
            raise StreamsFullError(call, len(usable), streams, for_now=len(usable) < len(self.slots))
        best = _best(with_room, ConnectionRole.READS)
        if best is leaving is not None:
            raise StreamStaysError
        return best

    @property
    def _open(self) -> list[tuple[ConnectionRole, Connection]]:
        """All connections that calls may be made on, each with the role whose home it is."""
        return [(slot.role, usable) for slot in self.slots.values() if (usable := slot.usable) is not None]

    async def ready(self, role: ConnectionRole) -> Connection:
        """Wait for a usable connection."""
        while (connection := self.connection(role)) is None:
            await self._changed.wait()
        return connection

    async def left(self, connection: Connection, call: Call) -> None:
        """Wait until a stream has to leave a connection: it has closed, or the reads' slot is ready again.

        It does not leave a slow or silent one: where it goes it has to be opened anew, and that costs calls.
        """
        home = self.slots[ConnectionRole.READS]
        while connection.is_open:
            own = home.usable if home.state is SlotState.READY else None
            if own is not None and own is not connection and own.has_stream_room(call):
                return
            await self._changed.wait()

    def _tell(self) -> None:
        """Wake all who wait for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # Sockets come and go

    async def close(self) -> None:
        """Close all sockets and stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._empty(slot) for slot in self.slots.values()))
        await self.login.close()

    async def _empty(self, slot: Slot) -> None:
        if slot.connection is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_WALL_S):
                    await slot.connection.close()
            slot.connection.abort()
        slot.become(SlotState.CLOSED, self._clock.now_ns())

    async def _log_in(self, slot: Slot) -> Connection:
        async with self._logging_in:  # slots queue up here: two at once would be a stampede
            await self._wait_in_queue(slot)
            slot.become(SlotState.CONNECTING, self._clock.now_ns())
            try:
                connection = await self._connection_for(slot)
            except BaseException:
                self._queue.failed(self._clock.now_ns())
                raise
            self._queue.logged_in()
        connection.on_stray = self.on_stray
        connection.on_room = self._tell
        slot.connection = connection
        slot.become(SlotState.READY, self._clock.now_ns())
        self._tell()
        return connection

    async def _wait_in_queue(self, slot: Slot) -> None:
        while True:
            wait_ns, reason = self._queue.wait_ns(self._clock.now_ns())
            if not wait_ns:
                return
            if reason:
                slot.become(SlotState.WAITING, self._clock.now_ns(), reason)
            await self._clock.sleep(wait_ns / NS_PER_S)

    async def _connection_for(self, slot: Slot) -> Connection:
        self._count_calls(self.login.login_calls)
        connection, facts = await self.login.connect(f"{self.account}/{slot.role}")
        if self.login_id not in ("", facts.login_id):
            await connection.close()
            raise CredentialError(
                "DERIV_TOKEN",
                f"belongs to {facts.login_id}, but the orders of accounts.{self.account} are those of {self.login_id}:"
                " give the other account a key of its own, or the gateway another journal",
            )
        self.login_id, self.facts = facts.login_id, facts
        if self.on_login is not None:
            self.on_login(facts.login_id)
        _log.info("connected", connection=connection.name, login_id=facts.login_id)
        return connection

    async def _keep(self, slot: Slot) -> None:
        short_lives = 0
        while True:
            connection = slot.usable
            if connection is None:
                if short_lives:
                    await self._rested(backoff_s(short_lives - 1, f"{self.account}/{slot.role}"))
                try:
                    connection = await self._log_in(slot)
                except Exception as error:  # noqa: BLE001 - a slot that nobody keeps stays empty for ever
                    # A credential that worked at the start may be renewed by its owner, so even this is tried again.
                    is_foreseen = isinstance(error, LoginError | CredentialError)
                    if not is_foreseen:
                        _log.exception("logging in failed in an unforeseen way", account=self.account, role=slot.role)
                    self._report(slot, str(error) if is_foreseen else type(error).__name__)
                    short_lives = 0
                    continue
            lived_s = await self._use_up(slot, connection)
            short_lives = 1 if lived_s >= HEALTHY_AFTER_S else short_lives + 1
            slot.reconnects += 1
            self._report(slot, "the socket closed")
            self._tell()

    async def _rested(self, wait_s: float) -> None:
        """Wait before a slot is filled again whose sockets do not live long; less while no other slot has one."""
        start_ns = self._clock.now_ns()
        while True:
            least_s = wait_s if self._open else min(wait_s, BEREFT_S)
            left_s = least_s - (self._clock.now_ns() - start_ns) / NS_PER_S
            if left_s <= 0:
                return
            with suppress(TimeoutError):
                async with self._clock.timeout(left_s):
                    await self._changed.wait()

    async def _use_up(self, slot: Slot, connection: Connection) -> float:
        """Look after a slot's socket until it has closed; returns how long it lived, in fleet seconds."""
        born_ns = self._clock.now_ns()
        monitoring = asyncio.create_task(
            monitor(slot, connection, self._clock, self._tell), name=f"monitor {connection.name}"
        )
        try:
            await connection.closed()
        finally:
            monitoring.cancel()
        slot.connection = None
        self._queue.ended(self._clock.now_ns(), may_linger=connection.may_linger)
        return (self._clock.now_ns() - born_ns) / 1e9

    def _report(self, slot: Slot, problem: str) -> None:
        slot.become(SlotState.WAITING, self._clock.now_ns(), problem)
        _log.warning(
            "no connection to Deriv, trying again",
            account=self.account,
            role=slot.role,
            problem=problem,
            failures=self._queue.failures,
        )


def _admits(connection: Connection, role: ConnectionRole) -> bool:
    is_doubtful = role is ConnectionRole.ORDERS and connection.health.verdict >= Verdict.SUSPECT
    return not is_doubtful and connection.has_room(for_exit=role is ConnectionRole.EXITS)


def _best(usable: list[tuple[ConnectionRole, Connection]], role: ConnectionRole) -> Connection | None:
    def rank(place: tuple[ConnectionRole, Connection]) -> tuple[Verdict, bool]:
        home, connection = place
        verdict, is_home = connection.health.verdict, home is role.home
        if role is ConnectionRole.HISTORY and is_home and verdict is Verdict.SLOW:
            verdict = Verdict.READY
        return verdict, not is_home

    return min(usable, key=rank)[1] if usable else None
