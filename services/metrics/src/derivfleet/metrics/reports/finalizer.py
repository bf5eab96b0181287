"""When a report is final, and when one that was final has to be told anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from derivfleet.metrics.reports.periods import Kind, Period, period_at
from derivfleet.metrics.store.store import StoreError
from derivfleet.v1 import reports_pb2

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.metrics.reports.reports import Reports
    from derivfleet.metrics.store.store import Store

__all__ = ["Finalizer", "figures_only"]

_log = structlog.get_logger()
_EVERY_S = 10.0
_SHORTEST_WALL_S = 1.0
_SETTLE_S = 15.0
"""Spans of the last instants are still on their way when a period ends."""
_MOST_AT_ONCE = 100
"""Reports made in one go: after a long absence the service still answers."""


def figures_only(report: reports_pb2.Report) -> bytes:
    """What a revision is about: a report without what its maker says of itself and of the present."""
    plain = reports_pb2.Report()
    plain.CopyFrom(report)
    for field in ("state", "revision", "made_time_ns", "filled_to_epoch_s"):
        plain.ClearField(field)
    for field in ("feed_connected", "feed_lag_s", "spans_refused", "spans_deferred", "events_refused", "complete"):
        plain.completeness.ClearField(field)
    return plain.SerializeToString(deterministic=True)


class Finalizer:
    """Makes reports final: once nothing that is known of is missing, or when their grace is over. Later news make
    revisions, each kept beside those before it.
    """

    def __init__(self, store: Store, reports: Reports, clock: Clock, account: str, grace_s: float) -> None:
        self._store = store
        self._reports = reports
        self._clock = clock
        self._account = account
        self._grace_s = grace_s
        self._trouble = ""

    async def run(self) -> None:
        """Finalize until cancelled."""
        while True:
            try:
                await self.finalize()
                self._trouble = ""
            except StoreError as error:
                if not self._trouble:
                    _log.warning("reports are not made final for now", problem=str(error))
                self._trouble = str(error)
            await self._clock.sleep(max(_EVERY_S, self._clock.fleet_s(_SHORTEST_WALL_S)))

    async def finalize(self) -> int:
        """Make final what can be, revise what has changed; returns how many reports were made. Raises StoreError."""
        made = 0
        await self._store.roll_up()
        for kind in Kind:
            for period in await self._due(kind):
                made += await self._first(period)
        return made + await self._revise()

    async def _due(self, kind: Kind) -> list[Period]:
        """The periods of a kind that are over and not final, oldest first, as many as are made in one go."""
        now_s = self._clock.now_s()
        last_s = await self._store.last_final(self._account, kind)
        if last_s is None:
            first_s = await self._store.first_seen_s(self._account)
            if first_s is None:
                return []
            period = period_at(kind, max(first_s, 0), self._reports.zone)
        else:
            period = self._after(Period(last_s, 0, kind))
        due: list[Period] = []
        while period.end_s + _SETTLE_S <= now_s and len(due) < _MOST_AT_ONCE:
            due.append(period)
            period = self._after(period)
        return due

    def _after(self, period: Period) -> Period:
        kind = period.kind or Kind.WINDOW
        whole = period_at(kind, period.start_s, self._reports.zone)
        return period_at(kind, whole.end_s, self._reports.zone)

    async def _first(self, period: Period) -> int:
        report = await self._reports.now(self._account, period)
        if not report.completeness.complete and self._clock.now_s() < period.end_s + self._grace_s:
            return 0
        await self._keep(report, 1)
        return 1

    async def _keep(self, report: reports_pb2.Report, revision: int) -> None:
        report.state = "final"
        report.revision = revision
        await self._store.keep_report(report)

    async def _revise(self) -> int:
        """Look again at every final report that holds a window in which something changed."""
        made = 0
        for start_s in await self._store.amended_windows(self._account, _MOST_AT_ONCE):
            for kind in Kind:
                period = period_at(kind, start_s, self._reports.zone)
                last = await self._store.last_report(self._account, kind, period.start_s)
                if last is None:
                    continue
                report = await self._reports.now(self._account, period)
                if figures_only(report) != figures_only(last):
                    await self._keep(report, last.revision + 1)
                    made += 1
                    _log.info(
                        "a final report has changed",
                        kind=kind.value,
                        start_s=period.start_s,
                        revision=last.revision + 1,
                        profit_before=last.fleet.profit,
                        profit=report.fleet.profit,
                    )
            await self._store.clear_amended(self._account, start_s)
        return made
