"""The page's pulse: one snapshot a second for all who watch, none while nobody does."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.alerts import alert_table
from derivfleet.metrics.store.store import StoreError
from derivfleet.metrics.web.snapshot import snapshot
from derivfleet.metrics.web.view import FeedView, ReplicationView, View

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.ingest.order_feed import OrderFeed
    from derivfleet.metrics.ingest.trace_receiver import IngestCounts
    from derivfleet.metrics.records.gateway_status import QuotaNow
    from derivfleet.metrics.replicate.replicator import Replicator
    from derivfleet.metrics.reports.reports import Reports
    from derivfleet.metrics.store.store import Store
    from derivfleet.metrics.web.dashboard_state import DashboardState

__all__ = ["SnapshotStream", "TooManySubscribersError"]

_log = structlog.get_logger()
_WINDOW_S = 300
_ORDERS = 30
_ALERTS = 50
_MOST_SUBSCRIBERS = 64
_EVERY_WALL_S = 1.0


class TooManySubscribersError(Exception):
    """As many pages are open as the service serves at one time."""


class SnapshotStream:
    """Makes snapshots while somebody watches. A watcher that is slow misses some, and never sees an old one late."""

    def __init__(
        self,
        store: Store,
        reports: Reports,
        feed: OrderFeed,
        counts: IngestCounts,
        dashboard: DashboardState,
        clock: Clock,
        fleet: Fleet,
        account: str,
        quota: Mapping[str, QuotaNow],
        replicator: Replicator | None = None,
    ) -> None:
        """``quota`` is asked anew for each snapshot: whoever follows the gateway keeps it up."""
        self._store = store
        self._reports = reports
        self._feed = feed
        self._counts = counts
        self._dashboard = dashboard
        self._clock = clock
        self._fleet = fleet
        self._account = account
        self._quota = quota
        self._replicator = replicator
        self._every_wall_s = max(_EVERY_WALL_S, clock.wall_s(1.0))
        self._subscribers = 0
        self._wanted = asyncio.Event()
        self._changed = asyncio.Condition()
        self._latest = ""
        self._number = 0
        self._closed = False
        self._trouble = False

    @property
    def subscribers(self) -> int:
        """How many pages are open."""
        return self._subscribers

    async def run(self) -> None:
        """Make snapshots until cancelled: each second of fleet time or of the wall, whichever is longer."""
        while True:
            await self._wanted.wait()
            try:
                text = json.dumps(await self.snapshot(), separators=(",", ":"))
            except StoreError as error:
                if not self._trouble:
                    _log.warning("no snapshot for the page", problem=str(error))
                self._trouble = True
            else:
                self._trouble = False
                async with self._changed:
                    self._latest = text
                    self._number += 1
                    self._changed.notify_all()
            await self._clock.sleep(self._clock.fleet_s(self._every_wall_s))

    async def snapshot(self) -> dict[str, object]:
        """The page's data now. Raises StoreError."""
        await self._dashboard.refresh()
        now_ns = self._clock.now_ns()
        return snapshot(
            View(
                now_ns=now_ns,
                speed=self._clock.speed,
                fleet=self._fleet,
                account=self._account,
                window_s=_WINDOW_S,
                figures=await self._reports.figures(self._account, now_ns - _WINDOW_S * NS_PER_S, now_ns + 1),
                fleet_curve=self._dashboard.fleet,
                bot_curves=self._dashboard.bots,
                usage=self._dashboard.usage,
                every_wall_s=self._every_wall_s,
                kept_alerts=await self._store.read(partial(alert_table.alerts, limit=_ALERTS)),
                orders=await self._store.orders(self._account, limit=_ORDERS),
                open_orders=await self._store.open_orders(self._account),
                unknown_orders=await self._store.unknown_orders(self._account),
                status=await self._store.status(self._account, now_ns),
                quota=self._quota.get(self._account),
                feed=FeedView(
                    connected=self._feed.connected,
                    problem=self._feed.problem,
                    lag_s=self._feed.lag_s(),
                    events_refused=self._feed.refused,
                    spans_refused=self._counts.refused,
                    spans_deferred=self._counts.sent_away,
                ),
                copy=await self._copy(),
            )
        )

    async def _copy(self) -> ReplicationView | None:
        if self._replicator is None:
            return None
        tables = await self._replicator.progress()
        return ReplicationView(
            behind_rows=sum(one.behind_rows for one in tables),
            behind_s=max(one.behind_s for one in tables),
            refused_rows=sum(one.refused for one in tables),
            problem=self._replicator.problem,
        )

    async def subscribe(self) -> AsyncGenerator[str, None]:
        """Snapshots as JSON texts, until the service ends. Raises TooManySubscribersError."""
        if self._subscribers >= _MOST_SUBSCRIBERS:
            raise TooManySubscribersError
        self._subscribers += 1
        # Whoever comes while others watch gets their latest at once; whoever comes first waits for a fresh one.
        seen = self._number - 1 if self._subscribers > 1 and self._latest else self._number
        self._wanted.set()
        try:
            while True:
                async with self._changed:
                    while not self._closed and self._number <= seen:
                        await self._changed.wait()
                    text, seen = self._latest, self._number
                if self._closed:
                    return
                yield text
        finally:
            self._subscribers -= 1
            if not self._subscribers:
                self._wanted.clear()

    async def close(self) -> None:
        """End every watch."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()
