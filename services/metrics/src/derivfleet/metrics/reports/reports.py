"""Reports of any period: final ones as they were last revised, the others as of now."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import grpc

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.rpc.status import Problem, ProblemError
from derivfleet.metrics.ingest.trace_receiver import IngestCounts
from derivfleet.metrics.records.gateway_status import counted_between
from derivfleet.metrics.reports.figures import figures_of
from derivfleet.metrics.reports.messages import amount, report_message, trace_message
from derivfleet.metrics.reports.order_trace import trace_of
from derivfleet.metrics.reports.periods import FieldError, Kind, Period, aligned, day_before, noon_of, period_at, within
from derivfleet.metrics.reports.quota_use import limits_of
from derivfleet.metrics.sums.time_levels import MINUTE_S
from derivfleet.v1 import reports_pb2

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.ingest.order_feed import OrderFeed
    from derivfleet.metrics.reports.figures import Figures
    from derivfleet.metrics.store.store import Store

__all__ = ["Reports"]

_HALF_DAY_S = 43_200
_ORDERS_TRIED = 200
"""How many settled orders are looked at for a complete trace: the newest spans are still on their way."""
_MOST_SPANS = 1_000
"""Of one order. A trade has about eight."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, read."""

    account: str
    period: Period
    compare: bool


class Reports:
    """Reports of any period: those that are final as they were last revised, the others as of now."""

    def __init__(
        self, store: Store, feed: OrderFeed, clock: Clock, fleet: Fleet, counts: IngestCounts | None = None
    ) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self._fleet = fleet
        self._counts = counts or IngestCounts()
        self._strategies = {bot.name: bot.parameters.strategy for bot in fleet.bots}
        self.zone = ZoneInfo(fleet.time_zone)

    def account_of(self, account: str) -> str:
        """The key of an account of the fleet; empty means the only one. Raises FieldError."""
        keys = [one.key for one in self._fleet.accounts]
        if not account and len(keys) == 1:
            return keys[0]
        if account not in keys:
            raise FieldError("account", f"{account!r} is none of the fleet's accounts: {', '.join(keys)}")
        return account

    async def figures(self, account: str, start_ns: int, end_ns: int) -> Figures:
        """The figures of an account over the whole minutes that hold [start, end). Raises StoreError."""
        minute_ns = MINUTE_S * NS_PER_S
        return await self._figures(account, Period(start_ns // minute_ns * 60, -(-end_ns // minute_ns) * 60))

    async def _figures(self, account: str, period: Period) -> Figures:
        now_ns = self._clock.now_ns()
        limits = limits_of(await self._store.status(account, period.end_s * NS_PER_S))
        bots = [bot.name for bot in self._fleet.bots if self._fleet.account_of(bot).key == account]
        aggregates, sums = await self._store.sums(account, period.start_s, period.end_s, now_ns, self._strategies)
        passed_s = max(1.0, min(period.end_s, now_ns / NS_PER_S) - period.start_s)
        return figures_of(aggregates, sums, max(1, period.length_s), bots, limits, passed_s)

    async def report(
        self,
        account: str,
        at_epoch_s: int,
        period_s: int,
        kind: str = "",
        back: int = 0,
    ) -> reports_pb2.Report:
        """The report over the period that contains an instant (0 means now). Raises FieldError or StoreError."""
        asked = self._asked(
            reports_pb2.GetReportRequest(
                account=account, at_epoch_s=at_epoch_s, period_s=period_s, kind=kind, back=back
            )
        )
        return await self._of(asked.account, asked.period)

    async def answer(self, request: reports_pb2.GetReportRequest) -> reports_pb2.GetReportResponse:
        """A report and what it is compared with. Raises FieldError or StoreError."""
        asked = self._asked(request)
        answer = reports_pb2.GetReportResponse(report=await self._of(asked.account, asked.period))
        if asked.compare:
            before = self._before(asked.period)
            earlier = day_before(asked.period, self.zone)
            answer.before.CopyFrom(await self._of(asked.account, before))
            answer.day_before.CopyFrom(await self._of(asked.account, earlier) if earlier != before else answer.before)
        return answer

    def _asked(self, request: reports_pb2.GetReportRequest) -> _Asked:
        account = self.account_of(request.account)
        at_s = within(request.at_epoch_s, self._clock.now_s())
        if request.date:
            if request.kind != Kind.DAY or request.at_epoch_s:
                raise FieldError("date", "goes with kind day and without a time")
            at_s = within(noon_of(request.date, self.zone), self._clock.now_s() + _HALF_DAY_S)
        if request.back < 0:
            raise FieldError("back", f"must not be negative, not {request.back}")
        if request.kind:
            if request.kind not in {*Kind}:
                raise FieldError("kind", f"must be {', '.join(Kind)} or empty, not {request.kind!r}")
            if request.period_s:
                raise FieldError("period_s", "must be 0 beside a kind")
            return _Asked(account, period_at(Kind(request.kind), at_s, self.zone, request.back), request.compare)
        length_s = aligned(at_s, request.period_s).length_s
        return _Asked(account, aligned(at_s - request.back * length_s, length_s), request.compare)

    def _before(self, period: Period) -> Period:
        if period.kind:
            return period_at(period.kind, period.start_s, self.zone, 1)
        return Period(period.start_s - period.length_s, period.start_s)

    async def _of(self, account: str, period: Period) -> reports_pb2.Report:
        if period.kind is not None:
            last = await self._store.last_report(account, period.kind, period.start_s)
            if last is not None:
                return last
        return await self.now(account, period)

    async def now(self, account: str, period: Period) -> reports_pb2.Report:
        """The report over a period as everything that is kept says now. Raises StoreError."""
        figures = await self._figures(account, period)
        start_ns, end_ns = period.start_s * NS_PER_S, period.end_s * NS_PER_S
        refused = counted_between(await self._store.refused_counts(account, start_ns, end_ns), start_ns, end_ns)
        saved = await self._store.saved_counts(account, start_ns, end_ns)
        now_s = self._clock.now_s()
        report = report_message(
            account,
            period,
            figures,
            filled_to_s=min(period.end_s, max(period.start_s, self._feed.seen_to_ns() // NS_PER_S)),
            passed_s=max(1.0, min(period.end_s, now_s) - period.start_s),
            saved={kind: counted_between(counts, start_ns, end_ns) for kind, counts in saved.items()},
            calls_refused=refused,
        )
        report.time_zone = self._fleet.time_zone
        report.state = "provisional" if now_s >= period.end_s else "running"
        report.made_time_ns = self._clock.now_ns()
        seen = report.completeness
        seen.feed_connected = self._feed.connected
        seen.feed_lag_s = self._feed.lag_s()
        seen.spans_refused = self._counts.refused
        seen.spans_deferred = self._counts.sent_away
        seen.events_refused = self._feed.refused
        # Those of earlier periods, too: their money may be at stake in this one.
        unknown = (await self._store.unknown_orders(account, end_ns)).values()
        seen.orders_unknown = sum(one.orders for one in unknown)
        seen.orders_doubtful = sum(one.doubtful for one in unknown)
        seen.staked_unknown = amount(sum((one.staked for one in unknown), Decimal(0)))
        seen.complete = figures.completeness.is_whole and not unknown and report.filled_to_epoch_s >= period.end_s
        return report

    async def trace(self, account: str, order_id: str) -> reports_pb2.Trace:
        """The spans of an order; the newest settled order with a complete trace for an empty id.

        Raises FieldError, StoreError, or ProblemError (NOT_FOUND).
        """
        key = self.account_of(account)
        for one in [order_id] if order_id else await self._store.settled_orders(key, _ORDERS_TRIED):
            trace = trace_of(key, one, await self._store.spans_of_order(key, one, _MOST_SPANS))
            if trace.is_complete or (order_id and trace.spans):
                return trace_message(trace)
        what = f"no span of an order {order_id!r}" if order_id else "no settled order with a complete trace"
        raise ProblemError(Problem(grpc.StatusCode.NOT_FOUND, "TRACE_UNKNOWN", f"{what} has arrived", field="order_id"))
