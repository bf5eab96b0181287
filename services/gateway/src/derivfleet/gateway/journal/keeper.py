"""Looks after the journal: heartbeat, retries, and moving what has ended out of the way."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from derivfleet.gateway.journal.store import ContractTakenError, JournalError

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.gateway.journal.journal import Journal

__all__ = ["Keeper"]

_log = structlog.get_logger()

TURN_WALL_S = 1.0
"""Between two looks; a PostgreSQL server takes fifteen such silent seconds for an end."""
TIDY_EVERY_S = 60.0
BREATH_WALL_S = 0.05
"""Between two batches, so that orders are not held up."""
DAY_NS = 24 * 3600 * 10**9


class Keeper:
    """One task beside the trading."""

    def __init__(self, journal: Journal, clock: Clock, hot_days: float, feed_days: float) -> None:
        """Ended orders go to the archive after ``hot_days``, transitions leave the feed after ``feed_days``."""
        self._journal = journal
        self._clock = clock
        self._hot_ns = round(hot_days * DAY_NS)
        self._feed_ns = round(feed_days * DAY_NS)
        self._tidy_ns = 0
        self._task = asyncio.create_task(self._run(), name="journal")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            more = False
            try:
                with suppress(JournalError):  # the journal has said so, once
                    more = await self._turn()
            except ContractTakenError as error:
                _log.error("two orders claim a contract", problem=str(error))
            except Exception as error:  # noqa: BLE001 - without this task nothing that was missed is ever written
                _log.error("looking after the journal failed in an unforeseen way", problem=repr(error))
            await self._clock.sleep(self._clock.fleet_s(BREATH_WALL_S if more else TURN_WALL_S))

    async def _turn(self) -> bool:
        """Returns whether there is more to tidy up at once."""
        if not self._journal.is_connected:
            await asyncio.to_thread(self._journal.reconnect)
        self._journal.retry()
        now_ns = self._clock.now_ns()
        if now_ns < self._tidy_ns:
            return False
        more = self._journal.tidy(now_ns - self._hot_ns, now_ns - self._feed_ns)
        if not more:
            self._tidy_ns = now_ns + round(TIDY_EVERY_S * 10**9)
        return more
