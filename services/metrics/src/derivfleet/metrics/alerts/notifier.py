"""Delivers notices from the store over one channel, oldest first, until it has taken them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.alerts import alert_table
from derivfleet.metrics.alerts.channels import ChannelError
from derivfleet.metrics.store.store import StoreError

if TYPE_CHECKING:
    import aiohttp

    from derivfleet.common.clock import Clock
    from derivfleet.metrics.alerts.alert_table import Notice
    from derivfleet.metrics.alerts.channels import Channel
    from derivfleet.metrics.store.store import Store

__all__ = ["Notifier"]

_log = structlog.get_logger()
_IDLE_S = 1.0
_SHORTEST_WALL_S = 0.1
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 300.0
_WORTH_SENDING_S = 24 * 3600
"""What could not be told for a day is given up, or a new address would be greeted by a month of old news."""
_LAST_WALL_S = 2.0


class Notifier:
    """One channel's notifier. A notice ends in the store once the other side has taken it.

    If the process is killed between those two, the notice is told again after the restart, under the same number: a
    webhook gets the number as its ``Idempotency-Key``. An orderly end waits for what is under way.
    """

    def __init__(self, store: Store, clock: Clock, channel: Channel, session: aiohttp.ClientSession) -> None:
        self._store = store
        self._clock = clock
        self._channel = channel
        self._session = session
        self._failures = 0
        self._said = ""
        self._delivered = 0

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            try:
                wait_s = await self._deliver_next()
            except StoreError as error:
                wait_s = self._failed(str(error))
            if wait_s:
                await self._clock.sleep(max(wait_s, self._clock.fleet_s(_SHORTEST_WALL_S)))

    async def _deliver_next(self) -> float:
        """Deliver the oldest notice; returns how long to wait. Raises StoreError."""
        name = self._channel.name
        notice = await self._store.read(lambda connection: alert_table.next_notice(connection, name))
        if notice is None:
            return _IDLE_S
        delivery = asyncio.create_task(self._deliver(notice))
        try:
            return await asyncio.shield(delivery)
        except asyncio.CancelledError:
            await asyncio.wait({delivery}, timeout=_LAST_WALL_S)
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)
            raise

    async def _deliver(self, notice: Notice) -> float:
        try:
            if notice.number != self._delivered:
                await self._channel.send(self._session, notice.number, notice.text)
                # LastNotice it is, even if the disk does not take that now.
                self._delivered = notice.number
        except ChannelError as error:
            wait_s = self._failed(str(error), error.retry_s, lasting=error.lasting)
            if self._clock.now_ns() - notice.made_ns < _WORTH_SENDING_S * NS_PER_S:
                return wait_s
            _log.warning("alert given up untold", channel=self._channel.name, problem=str(error), number=notice.number)
            await self._end(notice, str(error))
            return 0.0
        self._failures, self._said = 0, ""
        await self._end(notice)
        return 0.0

    async def _end(self, notice: Notice, problem: str = "") -> None:
        now_ns = self._clock.now_ns()
        await self._store.write(lambda connection: alert_table.end_notice(connection, notice.number, now_ns, problem))

    def _failed(self, problem: str, retry_s: float = 0.0, *, lasting: bool = False) -> float:
        name = self._channel.name
        wait_s = backoff_s(self._failures, f"alerts {name}", _FIRST_WAIT_S, _LONGEST_WAIT_S)
        self._failures += 1
        if problem != self._said:
            # Once a problem: an outage of hours is one line.
            self._said = problem
            level = _log.error if lasting else _log.warning
            level("alert not told, trying again", channel=name, problem=problem)
        # What the other side asked for is asked of the wall.
        return max(wait_s, self._clock.fleet_s(retry_s))
