"""Ten bots in one program around one lock: ``python -m bench.speedup.lock``.

The shape that a bot grows into when strategies are added to it: one socket, one asyncio lock so that nobody mixes up
answers, and limits for the whole process that never come near Deriv's. A bot holds the lock for its whole trade.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import structlog

from bench.speedup.bot_logs import LogWriter
from bench.speedup.plain_client import (
    CODEC,
    FailedError,
    PlainClient,
    pause_s,
    purchase_of,
    state_of,
    ticks_in,
    ticks_of,
)
from bench.speedup.program import ProgramSettings, run_until
from bench.speedup.rate_limit import RateLimit
from derivfleet.bot.strategies import decide
from derivfleet.common.fleet import load_fleet
from derivfleet.common.service import run_service

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Bot
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.deriv.dialects import Frame
    from derivfleet.deriv.requests import Request

__all__ = ["Monolith", "serve"]

BUYS, HISTORIES, CHECKS = 5, 10, 20
"""Calls a minute, for the whole process."""
CHECK_EVERY_S = 1.0
PAUSE_AFTER_FAILURE_S = 1.0

_log = structlog.get_logger()


class Monolith:
    """All bots, one lock, one socket."""

    def __init__(self, wire: PlainClient, clock: Clock, notes: LogWriter) -> None:
        self._wire = wire
        self._clock = clock
        self._notes = notes
        self._lock = asyncio.Lock()
        self._buys, self._histories, self._checks = RateLimit(BUYS), RateLimit(HISTORIES), RateLimit(CHECKS)

    async def play(self, bot: Bot) -> None:
        """Trade for ever."""
        while True:
            wanted_ns = self._clock.now_ns()
            async with self._lock:
                try:
                    await self._trade(bot, wanted_ns)
                except FailedError as error:
                    # What became of it nobody will know; the next bot has its turn.
                    _log.warning("trade failed", bot=bot.name, problem=str(error))
                    await self._clock.sleep(PAUSE_AFTER_FAILURE_S)
            await self._clock.sleep(pause_s(bot))

    async def _trade(self, bot: Bot, wanted_ns: int) -> None:
        """Look, decide, buy, wait until it is sold."""
        ticks = ticks_in(await self._call(bot, self._histories, ticks_of(bot), wanted_ns), bot)
        decision = decide(bot.parameters, ticks)
        if decision is None:
            return
        self._notes.decided(bot.name)
        receipt = CODEC.decode_buy(await self._call(bot, self._buys, purchase_of(bot, decision)))
        is_over = False
        while not is_over:
            await self._clock.sleep(CHECK_EVERY_S)
            is_over = await self._is_over(bot, receipt.contract_id)

    async def _is_over(self, bot: Bot, contract_id: int) -> bool:
        try:
            contract = CODEC.decode_contract(await self._call(bot, self._checks, state_of(contract_id)))
        except FailedError:
            return False  # the next check will tell
        return contract is not None and contract.is_sold

    async def _call(self, bot: Bot, allowance: RateLimit, request: Request, wanted_ns: int | None = None) -> Frame:
        with self._notes.operation(bot.name, request.call, wanted_ns):
            await allowance.turn(self._clock)
            return await self._wire.ask(request)


async def serve(settings: ProgramSettings, clock: Clock, _telemetry: Telemetry, stop: asyncio.Event) -> None:
    """Trade until told to stop."""
    notes = LogWriter(settings.notes, clock)
    wire = PlainClient(settings, clock)
    monolith = Monolith(wire, clock, notes)
    try:
        await run_until(stop, (monolith.play(bot) for bot in load_fleet(settings.fleet).bots))
    finally:
        await wire.close()
        notes.close()


if __name__ == "__main__":
    sys.exit(run_service("lock", ProgramSettings, serve))
