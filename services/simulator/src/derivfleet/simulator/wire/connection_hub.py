"""Where exchange, clock and sockets meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from derivfleet.common.clock import NS_PER_S
from derivfleet.simulator.core.effects import Close
from derivfleet.simulator.wire.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from derivfleet.common.clock import Clock
    from derivfleet.deriv.vocabulary import Dialect
    from derivfleet.simulator.core.effects import Effect
    from derivfleet.simulator.core.exchange import Exchange

__all__ = ["ConnectionHub"]

GOING_AWAY_CODE = 1001


class ConnectionHub:
    """All open sockets of one exchange, and the one task that lets its time pass."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self.exchange = exchange
        self.clock = clock
        self._sessions: dict[int, Session] = {}
        self._log = structlog.get_logger()

    async def serve(
        self, request: web.Request, name: Dialect, app_id: str, account: str | None = None
    ) -> web.StreamResponse:
        """Serve one socket to its end."""
        session = Session(self.clock, request)
        connection = self.exchange.connect(name, app_id, request.remote or "", self.clock.now_ns(), account)
        number = connection.number
        self._sessions[number] = session
        self._log.debug("socket opened", socket=number, dialect=str(name), account=account)

        def receive(text: str | bytes) -> None:
            self.carry_out(self.exchange.receive(number, text, self.clock.now_ns()))

        try:
            return await session.run(receive)
        finally:
            del self._sessions[number]
            self.exchange.disconnect(number)
            self._log.debug("socket closed", socket=number, dialect=str(name), account=connection.account)

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Give each effect to its socket. A socket that is closed is gone for the exchange at once."""
        for effect in effects:
            session = self._sessions.get(effect.connection)
            if session:
                session.carry_out(effect)
            if isinstance(effect, Close):
                self._log.info("closing a socket", socket=effect.connection, reason=effect.reason)
                self.exchange.disconnect(effect.connection)

    async def pass_time(self) -> None:
        """Wake at every second of the clock; late wakes make up for what they missed."""
        while True:
            now_s = self.clock.now_ns() // NS_PER_S
            self.carry_out(self.exchange.advance(now_s))
            await self.clock.sleep_until_ns((now_s + 1) * NS_PER_S)

    def close_all(self) -> None:
        """Say goodbye to every socket."""
        self.carry_out([Close(number, GOING_AWAY_CODE, "shutting down") for number in self._sessions])
