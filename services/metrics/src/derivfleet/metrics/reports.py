"""Reports: which period, its figures, and the service that hands them out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.rpc.status import Problem, ProblemError, abort
from derivfleet.metrics.aggregate import figures_of
from derivfleet.metrics.quota import limits_of
from derivfleet.metrics.status import refused_between
from derivfleet.metrics.store import StoreError
from derivfleet.metrics.traces import attributes_of, trace_of
from derivfleet.v1 import reports_pb2, reports_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from decimal import Decimal
    from typing import Any

    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.aggregate import BotFigures, Figures
    from derivfleet.metrics.feed import OrderFeed
    from derivfleet.metrics.store import Store
    from derivfleet.metrics.traces import OrderTrace

    Context = grpc.aio.ServicerContext[Any, Any]

__all__ = ["MOST_PERIOD_S", "PERIOD_S", "FieldError", "Period", "Reports", "ReportsServicer", "period_of"]

PERIOD_S = 300
"""The length of a period when none is asked for."""
MOST_PERIOD_S = 86_400
"""A report reads every row of its period, so there is an end to its length."""

_SKEW_S = 300
"""The asker's clock may be ahead of ours, and a fast clock multiplies the difference."""

_ORDERS_TRIED = 200
"""How many settled orders are looked at for a complete trace: the newest spans are still on their way."""
_MOST_SPANS = 1_000
"""Of one order. A trade has about eight."""


class FieldError(ValueError):
    """A request that cannot be answered; ``field`` names what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


@dataclass(frozen=True, slots=True)
class Period:
    """A span of fleet time: UTC seconds since 1970, the end exclusive."""

    start_s: int
    end_s: int

    @property
    def length_s(self) -> int:
        return self.end_s - self.start_s


def period_of(at_epoch_s: int, period_s: int, now_s: float) -> Period:
    """The period that contains an instant; periods are aligned to 1970, so all five-minute ones begin at :00, :05 …

    0 for ``at_epoch_s`` means now, 0 for ``period_s`` means :data:`PERIOD_S`. Raises FieldError.
    """
    length_s = period_s or PERIOD_S
    if not 0 < length_s <= MOST_PERIOD_S:
        raise FieldError("period_s", f"must be from 1 to {MOST_PERIOD_S} seconds, not {period_s}")
    if not 0 <= at_epoch_s <= now_s + _SKEW_S:
        raise FieldError("at_epoch_s", f"must be a time between 1970 and now ({int(now_s)}), not {at_epoch_s}")
    at_s = at_epoch_s or int(now_s)
    start_s = at_s - at_s % length_s
    return Period(start_s, start_s + length_s)


class Reports:
    """Sums up what the store holds, on demand: a report of the past is right again after late news."""

    def __init__(self, store: Store, feed: OrderFeed, clock: Clock, fleet: Fleet) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self._fleet = fleet

    def account_of(self, account: str) -> str:
        """The key of an account of the fleet; empty means the only one. Raises FieldError."""
        keys = [one.key for one in self._fleet.accounts]
        if not account and len(keys) == 1:
            return keys[0]
        if account not in keys:
            raise FieldError("account", f"{account!r} is none of the fleet's accounts: {', '.join(keys)}")
        return account

    async def figures(self, account: str, start_ns: int, end_ns: int) -> Figures:
        """The figures of an account in [start, end). Raises StoreError."""
        limits = limits_of(await self._store.status(account, end_ns))
        bots = [bot.name for bot in self._fleet.bots if self._fleet.account_of(bot).key == account]
        period_s = max(1, (end_ns - start_ns) // NS_PER_S)
        return await self._store.period(
            account, start_ns, end_ns, lambda rows: figures_of(rows, period_s, bots, limits)
        )

    async def report(self, account: str, at_epoch_s: int, period_s: int) -> reports_pb2.Report:
        """One report. Raises FieldError or StoreError."""
        key = self.account_of(account)
        period = period_of(at_epoch_s, period_s, self._clock.now_s())
        start_ns, end_ns = period.start_s * NS_PER_S, period.end_s * NS_PER_S
        # Asked before the rows are read: what arrives meanwhile is a gain, not a hole.
        seen_to_s = self._feed.seen_to_ns() // NS_PER_S
        figures = await self.figures(key, start_ns, end_ns)
        refused = refused_between(await self._store.refused_counts(key, start_ns, end_ns), start_ns, end_ns)
        completeness = figures.completeness
        return reports_pb2.Report(
            account=key,
            start_epoch_s=period.start_s,
            end_epoch_s=period.end_s,
            filled_to_epoch_s=min(period.end_s, max(period.start_s, seen_to_s)),
            bots=[_bot_report(bot) for bot in figures.bots],
            fleet=_bot_report(figures.fleet),
            quota=[
                reports_pb2.QuotaUse(bucket=one.bucket, calls=one.calls, share_of_limit=one.share_of_limit)
                for one in figures.quota
            ],
            completeness=reports_pb2.Completeness(
                orders_in_feed=completeness.orders_in_feed,
                orders_traced=completeness.orders_traced,
                traces_without_order=completeness.traces_without_order,
                profit_untraced=_amount(completeness.profit_untraced),
                feed_connected=self._feed.connected,
                feed_lag_s=self._feed.lag_s(),
            ),
            # A trace can be lost and a count can be missed; a refusal that either knows of is told.
            rejected_by_deriv=max(figures.calls_refused, refused),
        )

    async def trace(self, account: str, order_id: str) -> reports_pb2.Trace:
        """The spans of an order; the newest settled order with a complete trace for an empty id.

        Raises FieldError, StoreError, or ProblemError (NOT_FOUND).
        """
        key = self.account_of(account)
        for one in [order_id] if order_id else await self._store.settled_orders(key, _ORDERS_TRIED):
            trace = trace_of(key, one, await self._store.spans_of_order(key, one, _MOST_SPANS))
            if trace.is_complete or (order_id and trace.spans):
                return _trace_message(trace)
        what = f"no span of an order {order_id!r}" if order_id else "no settled order with a complete trace"
        raise ProblemError(Problem(grpc.StatusCode.NOT_FOUND, "TRACE_UNKNOWN", f"{what} has arrived", field="order_id"))


def _trace_message(trace: OrderTrace) -> reports_pb2.Trace:
    return reports_pb2.Trace(
        account=trace.account,
        order_id=trace.order_id,
        complete=trace.is_complete,
        spans=[
            reports_pb2.Span(
                trace_id=span.trace_id,
                span_id=span.span_id,
                parent_span_id=span.parent_id,
                name=span.name,
                service=span.service,
                start_ns=span.start_ns,
                end_ns=span.end_ns,
                attributes=attributes_of(span),
                error_code=span.error_code,
            )
            for span in trace.spans
        ],
    )


def _bot_report(figures: BotFigures) -> reports_pb2.BotReport:
    return reports_pb2.BotReport(
        bot=figures.bot,
        ops=figures.ops,
        buys=figures.buys,
        settled=figures.settled,
        wins=figures.wins,
        win_rate=figures.win_rate,
        profit=_amount(figures.profit),
        staked=_amount(figures.staked),
        phases=[
            reports_pb2.PhaseLatency(
                phase=one.phase, count=one.count, p50_ms=one.p50_ms, p95_ms=one.p95_ms, p99_ms=one.p99_ms
            )
            for one in figures.phases
        ],
        errors=[reports_pb2.ErrorCount(code=code, count=count) for code, count in figures.errors],
    )


def _amount(value: Decimal) -> str:
    return f"{value:f}"


class ReportsServicer(reports_pb2_grpc.ReportsServiceServicer):
    """``derivfleet.v1.ReportsService``."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def GetReport(  # noqa: N802 - gRPC's name
        self, request: reports_pb2.GetReportRequest, context: Context
    ) -> reports_pb2.GetReportResponse:
        """One report; INVALID_ARGUMENT names the field, UNAVAILABLE says that the store failed."""
        async with _explained(context):
            report = await self._reports.report(request.account, request.at_epoch_s, request.period_s)
            return reports_pb2.GetReportResponse(report=report)
        raise AssertionError("abort returned")

    async def GetTrace(  # noqa: N802 - gRPC's name
        self, request: reports_pb2.GetTraceRequest, context: Context
    ) -> reports_pb2.GetTraceResponse:
        """The spans of one order; NOT_FOUND if none has arrived, the rest as in GetReport."""
        async with _explained(context):
            trace = await self._reports.trace(request.account, request.order_id)
            return reports_pb2.GetTraceResponse(trace=trace)
        raise AssertionError("abort returned")


@asynccontextmanager
async def _explained(context: Context) -> AsyncGenerator[None, None]:
    """End the call with what its errors mean to the caller."""
    try:
        yield
    except ProblemError as error:
        await abort(context, error.problem)
    except FieldError as error:
        await abort(context, Problem(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", str(error), field=error.field))
    except StoreError as error:
        await abort(context, Problem(grpc.StatusCode.UNAVAILABLE, "STORE_FAILED", str(error), retry_after_s=1.0))
