"""The running sums behind the page: profit and use of the limits over time, kept up from the store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.web.limit_usage import LimitUsage, window_samples
from derivfleet.metrics.web.profit_curve import ProfitCurve

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.metrics.store.store import Store

__all__ = ["DashboardState"]

_FLEET_BUCKETS = 240
_BOT_BUCKETS = 48
_ROWS = 5_000
"""Read in pieces, so that a long past never holds up the loop."""


class DashboardState:
    """Follows one account: settlements by their position in the feed, use of the limits by its time."""

    def __init__(self, store: Store, clock: Clock, account: str, reach_s: int) -> None:
        self._store = store
        self._clock = clock
        self._account = account
        self._reach_s = reach_s
        self._position = 0
        self.fleet = ProfitCurve(_FLEET_BUCKETS, reach_s)
        self.bots: dict[str, ProfitCurve] = {}
        self.usage = LimitUsage(reach_s)

    async def refresh(self) -> None:
        """Take in what has settled since the last time. Raises StoreError."""
        now_s = self._clock.now_s()
        since_ns = round((now_s - self._reach_s) * NS_PER_S)
        while True:
            rows = await self._store.settlements(self._account, self._position, since_ns, _ROWS)
            for row in rows:
                settled_s = row.settled_ns // NS_PER_S
                self.fleet.add(settled_s, row.profit)
                self.bots.setdefault(row.bot, ProfitCurve(_BOT_BUCKETS, self._reach_s)).add(settled_s, row.profit)
                self._position = row.position
            if len(rows) < _ROWS:
                break
        await self._refresh_usage(since_ns)
        for curve in (self.fleet, *self.bots.values(), self.usage):
            curve.drop_before(now_s)

    async def _refresh_usage(self, since_ns: int) -> None:
        while True:
            after_ns = max(since_ns, self.usage.seen_to_ns)
            samples = await self._store.read(
                partial(window_samples, account=self._account, after_ns=after_ns, limit=_ROWS)
            )
            for time_ns, shares in samples:
                self.usage.add(time_ns, shares)
            if len(samples) < _ROWS:
                return
