"""Figures as the messages of ``reports.proto``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.metrics.reports.order_trace import attributes_of
from derivfleet.metrics.sums.latency_sketch import RELATIVE_ERROR
from derivfleet.metrics.sums.profit_and_loss import wilson
from derivfleet.v1 import quota_pb2, reports_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from derivfleet.metrics.reports.figures import BotFigures, Figures, PhaseFigures
    from derivfleet.metrics.reports.order_trace import OrderTrace
    from derivfleet.metrics.reports.periods import Period
    from derivfleet.metrics.sums.profit_and_loss import ProfitAndLoss

__all__ = ["amount", "report_message", "trace_message"]

_MINUTE_S = 60
_HOUR_S = 3600


def amount(value: Decimal) -> str:
    """A decimal string without an exponent."""
    return f"{value:f}"


def profit_and_loss_message(name: str, pnl: ProfitAndLoss, passed_s: float) -> reports_pb2.ProfitAndLoss:
    """What orders add up to, over the part of the period that is over."""
    low, high = wilson(pnl.wins, pnl.settled)
    hours = max(passed_s, 1.0) / _HOUR_S
    return reports_pb2.ProfitAndLoss(
        name=name,
        buys=pnl.buys,
        settled=pnl.settled,
        wins=pnl.wins,
        win_rate=pnl.win_rate,
        win_rate_low=low,
        win_rate_high=high,
        profit=amount(pnl.profit),
        profit_per_hour=f"{float(pnl.profit) / hours:.2f}",
        staked=amount(pnl.staked),
        drawdown=amount(pnl.drawdown),
        peak_exposure=amount(pnl.peak),
        mean_exposure=f"{float(pnl.held) / max(passed_s, 1.0):.2f}",
    )


def report_message(
    account: str,
    period: Period,
    figures: Figures,
    *,
    filled_to_s: int,
    passed_s: float,
    saved: Mapping[str, int],
    calls_refused: int,
) -> reports_pb2.Report:
    """A report without what its maker says of itself: state, revision, feed, receiver."""
    seen = figures.completeness
    pnl = seen.pnl
    minutes = max(1.0, passed_s / _MINUTE_S)
    return reports_pb2.Report(
        account=account,
        start_epoch_s=period.start_s,
        end_epoch_s=period.end_s,
        filled_to_epoch_s=filled_to_s,
        kind=period.kind or "",
        bots=[_bot_message(bot, passed_s, minutes) for bot in figures.bots],
        fleet=_bot_message(figures.fleet, passed_s, minutes * max(1, len(figures.bots))),
        quota=[
            reports_pb2.QuotaUse(bucket=one.bucket, calls=one.calls, share_of_limit=one.share_of_limit)
            for one in figures.quota
        ],
        completeness=reports_pb2.Completeness(
            orders_in_feed=seen.orders_in_feed,
            orders_traced=seen.orders_traced,
            traces_without_order=seen.traces_without_order,
            profit_untraced=amount(seen.profit_untraced),
            staked_untraced=amount(pnl.untraced_staked),
            profit_without_order=amount(pnl.strays_profit),
            staked_without_order=amount(pnl.strays_staked),
            spans=seen.spans,
            spans_sampled=seen.spans_sampled,
            spans_represented=seen.spans_represented,
            spans_late=seen.spans_late,
            spans_ahead=seen.spans_ahead,
            max_ahead_s=seen.max_ahead_s,
        ),
        # A trace can be lost and a count can be missed; a refusal that either knows of is told.
        rejected_by_deriv=max(figures.calls_refused, calls_refused),
        symbols=[profit_and_loss_message(name, one, passed_s) for name, one in figures.symbols],
        strategies=[profit_and_loss_message(name, one, passed_s) for name, one in figures.strategies],
        calls_saved=[quota_pb2.CallsSaved(kind=kind, calls=calls) for kind, calls in sorted(saved.items()) if calls],
        bottlenecks=[
            reports_pb2.Bottleneck(bot=one.bot, cause=one.cause, share=one.share, text=one.text)
            for one in figures.bottlenecks
        ],
        relative_error=RELATIVE_ERROR,
    )


def _bot_message(figures: BotFigures, passed_s: float, minutes: float) -> reports_pb2.BotReport:
    pnl = figures.pnl
    return reports_pb2.BotReport(
        bot=figures.bot,
        ops=figures.ops,
        buys=pnl.buys,
        settled=pnl.settled,
        wins=pnl.wins,
        win_rate=pnl.win_rate,
        profit=amount(pnl.profit),
        staked=amount(pnl.staked),
        phases=[
            reports_pb2.PhaseLatency(
                phase=one.phase, count=one.count, p50_ms=one.p50_ms, p95_ms=one.p95_ms, p99_ms=one.p99_ms
            )
            for one in figures.phases
        ],
        errors=[reports_pb2.ErrorCount(code=code, count=count) for code, count in figures.errors],
        profit_and_loss=profit_and_loss_message(figures.bot, pnl, passed_s),
        waits=[
            reports_pb2.Wait(
                cause=one.cause, count=one.count, total_s=one.total_s, p50_ms=one.p50_ms, p95_ms=one.p95_ms
            )
            for one in figures.waits
        ],
        operations=[_operation(one) for one in figures.operations],
        uptime=min(1.0, figures.heard_minutes / minutes),
    )


def _operation(one: PhaseFigures) -> reports_pb2.Operation:
    return reports_pb2.Operation(
        name=one.phase, count=one.count, p50_ms=one.p50_ms, p95_ms=one.p95_ms, p99_ms=one.p99_ms
    )


def trace_message(trace: OrderTrace) -> reports_pb2.Trace:
    """One order's spans."""
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
