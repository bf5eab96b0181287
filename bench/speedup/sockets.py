"""Ten bots over four sockets: ``python -m bench.speedup.sockets``.

What people build when the lock is too slow: calls go round robin over four sockets, nobody waits for another bot, and
each bot has limits of its own, chosen so that ten of them together stay below Deriv's. A purchase that fails or is not
answered is tried again up to three times, whatever became of it: such loops know no difference between a purchase that
was refused and one whose answer was lost. The tries are not counted against the bot's limit.
"""

from __future__ import annotations

import itertools
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
    quote_of,
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
    import asyncio
    from collections.abc import Iterator

    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Bot
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.deriv.dialects import Frame
    from derivfleet.deriv.requests import Request

__all__ = ["SOCKETS", "Player", "serve"]

SOCKETS = 4
BUYS, HISTORIES, CHECKS, QUOTES = 3, 8, 15, 5
"""Calls a minute, for each bot. The last three kinds but histories are counted together by Deriv: 230 for ten bots."""
RETRIES = 3
RETRY_PAUSE_S = 1.0
CHECK_EVERY_S = 1.0
PAUSE_AFTER_FAILURE_S = 1.0

_log = structlog.get_logger()


class Player:
    """One bot with its own limits on shared sockets."""

    def __init__(self, bot: Bot, wires: Iterator[PlainClient], clock: Clock, notes: LogWriter) -> None:
        """``wires`` gives the socket for each call."""
        self._bot = bot
        self._wires = wires
        self._clock = clock
        self._notes = notes
        self._buys, self._histories = RateLimit(BUYS), RateLimit(HISTORIES)
        self._checks, self._quotes = RateLimit(CHECKS), RateLimit(QUOTES)

    async def play(self) -> None:
        """Trade for ever."""
        while True:
            try:
                await self._trade()
            except FailedError as error:
                _log.warning("trade failed", bot=self._bot.name, problem=str(error))
                await self._clock.sleep(PAUSE_AFTER_FAILURE_S)
            await self._clock.sleep(pause_s(self._bot))

    async def _trade(self) -> None:
        """Look, decide, ask the price, buy, wait until it is sold."""
        bot = self._bot
        ticks = ticks_in(await self._call(self._histories, ticks_of(bot)), bot)
        decision = decide(bot.parameters, ticks)
        if decision is None:
            return
        self._notes.decided(bot.name)
        quote = CODEC.decode_proposal(await self._call(self._quotes, quote_of(bot, decision)))
        if quote.payout is None or quote.payout <= bot.stake:
            return
        receipt = CODEC.decode_buy(await self._call(self._buys, purchase_of(bot, decision), RETRIES))
        is_over = False
        while not is_over:
            await self._clock.sleep(CHECK_EVERY_S)
            is_over = await self._is_over(receipt.contract_id)

    async def _is_over(self, contract_id: int) -> bool:
        try:
            contract = CODEC.decode_contract(await self._call(self._checks, state_of(contract_id)))
        except FailedError:
            return False  # the next check will tell
        return contract is not None and contract.is_sold

    async def _call(self, allowance: RateLimit, request: Request, retries: int = 0) -> Frame:
        with self._notes.operation(self._bot.name, request.call):
            await allowance.turn(self._clock)
            for attempt in itertools.count():
                try:
                    return await next(self._wires).ask(request)
                except FailedError as error:
                    if attempt == retries:
                        raise
                    _log.warning("trying again", bot=self._bot.name, problem=str(error))
                    await self._clock.sleep(RETRY_PAUSE_S)
            raise AssertionError("the tries never end without an answer or an error")


async def serve(settings: ProgramSettings, clock: Clock, _telemetry: Telemetry, stop: asyncio.Event) -> None:
    """Trade until told to stop."""
    notes = LogWriter(settings.notes, clock)
    wires = [PlainClient(settings, clock) for _ in range(SOCKETS)]
    turns = itertools.cycle(wires)
    bots = load_fleet(settings.fleet).bots
    try:
        await run_until(stop, (Player(bot, turns, clock, notes).play() for bot in bots))
    finally:
        for wire in wires:
            await wire.close()
        notes.close()


if __name__ == "__main__":
    sys.exit(run_service("sockets", ProgramSettings, serve))
