"""The sockets of one account: each in a seat with a purpose, kept alive, replaced when it dies.

Orders go over one socket; the transaction stream, reads and reconciling over the other, so that what happened to an
order can be learned while its own socket is dead. If one seat is empty, the other serves both.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.common.logs import redact
from derivfleet.deriv import requests
from derivfleet.gateway.upstream.connection import AnswerLostError, CallRefusedError, Connection
from derivfleet.gateway.upstream.entrance import AccountFacts, CredentialError, Entrance, EntryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.clock import Clock
    from derivfleet.deriv.vocabulary import Call

__all__ = ["Pool", "Role", "Seat", "SeatState"]

_log = structlog.get_logger()

PING_EVERY_S = 25.0
"""The server drops a socket without traffic after 120 s; its makers' own advice is a ping every 30 s."""
PING_PATIENCE_S = 10.0
LEAST_PATIENCE_WALL_S = 2.0
"""Networks and processors do not run faster when the clock does."""
CLOSE_PATIENCE_WALL_S = 2.0
HEALTHY_AFTER_S = 60.0
"""A socket that lived this long resets the backoff."""


class Role(StrEnum):
    """What a seat is for."""

    ORDERS = "orders"
    READS = "reads"


class SeatState(StrEnum):
    """Whether a seat has a usable socket."""

    CONNECTING = "connecting"
    READY = "ready"
    WAITING = "waiting"
    CLOSED = "closed"


class Seat:
    """One place for a socket."""

    def __init__(self, role: Role, now_ns: int) -> None:
        self.role = role
        self.state = SeatState.CONNECTING
        self.since_time_ns = now_ns
        self.connection: Connection | None = None
        self.ping_ms = 0.0
        self.reconnects = 0
        self.problem = ""

    def become(self, state: SeatState, now_ns: int, problem: str = "") -> None:
        self.state, self.since_time_ns, self.problem = state, now_ns, redact(problem)


class Pool:
    """The seats of one account."""

    def __init__(
        self, account: str, entrance: Entrance, clock: Clock, on_entry: Callable[[tuple[Call, ...]], None]
    ) -> None:
        """``on_entry`` hears of the calls that each entry makes, so that they are counted."""
        self.account = account
        self._on_entry = on_entry
        self.entrance = entrance
        self._clock = clock
        self.seats = {role: Seat(role, clock.now_ns()) for role in Role}
        self.facts: AccountFacts | None = None
        self.on_stray: Callable[[Connection, str], None] | None = None
        """Given to every connection."""
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        self._entering = asyncio.Lock()

    async def start(self) -> None:
        """Fill the first seat, then keep all of them filled.

        Raises CredentialError if Deriv does not accept the credential. If Deriv is not there yet, returns and goes on
        trying.
        """
        try:
            await self._enter(self.seats[Role.ORDERS])
        except EntryError as error:
            self._report(self.seats[Role.ORDERS], str(error), 1)
        for seat in self.seats.values():
            self._tasks.append(asyncio.create_task(self._keep(seat), name=f"keep {self.account}/{seat.role}"))

    def connection(self, role: Role) -> Connection | None:
        """A usable connection: the role's own, or another's if that seat is empty; None if there is none."""
        own = self.seats[role].connection
        if own is not None and own.is_open:
            return own
        return next(
            (seat.connection for seat in self.seats.values() if seat.connection and seat.connection.is_open), None
        )

    async def ready(self, role: Role) -> Connection:
        """Wait for a usable connection."""
        async with self._changed:
            while True:
                connection = self.connection(role)
                if connection is not None:
                    return connection
                await self._changed.wait()

    async def left(self, connection: Connection, role: Role) -> None:
        """Wait until a role no longer uses a connection: it has closed, or the role's own seat has one again."""
        async with self._changed:
            while self.connection(role) is connection:
                await self._changed.wait()

    async def close(self) -> None:
        """Close all sockets and stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._empty(seat) for seat in self.seats.values()))
        await self.entrance.close()

    async def _empty(self, seat: Seat) -> None:
        if seat.connection is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_PATIENCE_WALL_S):
                    await seat.connection.close()
            seat.connection.abort()
        seat.become(SeatState.CLOSED, self._clock.now_ns())

    async def _enter(self, seat: Seat) -> None:
        # One at a time: each entry costs a call of the user's REST budget, and two at once would be a stampede.
        async with self._entering:
            seat.become(SeatState.CONNECTING, self._clock.now_ns())
            self._on_entry(self.entrance.entry_calls)
            connection, facts = await self.entrance.enter(f"{self.account}/{seat.role}")
        if self.facts is not None and facts.login_id != self.facts.login_id:
            await connection.close()
            raise CredentialError("DERIV_TOKEN", f"now belongs to {facts.login_id}, it was {self.facts.login_id}")
        self.facts = facts
        connection.on_stray = self.on_stray
        seat.connection = connection
        seat.become(SeatState.READY, self._clock.now_ns())
        _log.info("connected", connection=connection.name, login_id=facts.login_id)
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _keep(self, seat: Seat) -> None:
        attempt = 1 if seat.problem else 0
        while True:
            if seat.connection is None or not seat.connection.is_open:
                if attempt:
                    await self._clock.sleep(backoff_s(attempt - 1, f"{self.account}/{seat.role}"))
                try:
                    await self._enter(seat)
                except (EntryError, CredentialError) as error:
                    # A credential that worked at the start may be renewed by its owner, so even this is tried again.
                    attempt += 1
                    self._report(seat, str(error), attempt)
                    continue
                except Exception as error:  # noqa: BLE001 - a seat that nobody keeps stays empty for ever
                    _log.exception("entering Deriv failed in an unforeseen way", account=self.account, role=seat.role)
                    attempt += 1
                    self._report(seat, type(error).__name__, attempt)
                    continue
            lived_s = await self._watch(seat)
            attempt = 1 if lived_s >= HEALTHY_AFTER_S else attempt + 1
            seat.connection = None
            seat.reconnects += 1
            self._report(seat, "the socket closed", attempt)
            await self._tell()

    def _report(self, seat: Seat, problem: str, attempt: int) -> None:
        seat.become(SeatState.WAITING, self._clock.now_ns(), problem)
        _log.warning(
            "no connection to Deriv, trying again",
            account=self.account,
            role=seat.role,
            problem=problem,
            attempt=attempt,
        )

    async def _watch(self, seat: Seat) -> float:
        """Ping until the socket closes; returns how long it lived, in fleet seconds."""
        connection = seat.connection
        if connection is None:
            return 0.0
        born_ns = self._clock.now_ns()
        pinging = asyncio.create_task(self._ping(seat, connection), name=f"ping {connection.name}")
        try:
            await connection.closed()
        finally:
            pinging.cancel()
        return (self._clock.now_ns() - born_ns) / 1e9

    async def _ping(self, seat: Seat, connection: Connection) -> None:
        patience_s = max(PING_PATIENCE_S, self._clock.fleet_s(LEAST_PATIENCE_WALL_S))
        while connection.is_open:
            start_ns = self._clock.now_ns()
            try:
                await connection.call(requests.Ping(ping=1), patience_s)
            except AnswerLostError:
                _log.warning("no answer to a ping: giving the socket up", connection=connection.name)
                connection.abort()
                return
            except CallRefusedError as error:
                _log.warning("ping refused", connection=connection.name, code=error.code)
            except Exception:  # noqa: BLE001 - without pings a dead peer is not noticed
                _log.exception("pinging failed: giving the socket up", connection=connection.name)
                connection.abort()
                return
            else:
                seat.ping_ms = (self._clock.now_ns() - start_ns) / 1e6
            await self._clock.sleep(PING_EVERY_S)
