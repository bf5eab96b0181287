"""What the page shows, as one JSON object. Pure: values in, plain data out; money stays a decimal string."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.web.page_alerts import alert_json, alerts_of

if TYPE_CHECKING:
    from decimal import Decimal

    from derivfleet.common.fleet import Bot
    from derivfleet.metrics.records.gateway_status import CircuitBreaker, QuotaShare
    from derivfleet.metrics.records.order import OrderRecord
    from derivfleet.metrics.reports.figures import BotFigures
    from derivfleet.metrics.web.profit_curve import ProfitCurve
    from derivfleet.metrics.web.view import View

__all__ = ["order_json", "snapshot"]

Json = dict[str, Any]


def snapshot(view: View) -> Json:
    """The page's data at one instant."""
    figures = view.figures
    completeness = figures.completeness
    known = {bot.name: bot for bot in view.fleet.bots}
    waiting = {share.bot for share in view.quota.shares if share.waiting} if view.quota else set[str]()
    return {
        "time_s": view.now_ns / NS_PER_S,
        "speed": view.speed,
        "every_s": view.every_wall_s,
        "fleet": view.fleet.fleet,
        "window_s": view.window_s,
        "account": _account_json(view),
        "gateway": _gateway_json(view),
        "total": {
            **_total_json(view.fleet_curve),
            "open": sum(view.open_orders.values()),
            "unknown": sum(one.orders for one in view.unknown_orders.values()),
            "doubtful": sum(one.doubtful for one in view.unknown_orders.values()),
        },
        "curve": _curve_json(view.fleet_curve, view.now_ns),
        "usage": view.usage.points(view.now_ns / NS_PER_S),
        "alerts": [alert_json(alert) for alert in alerts_of(view)],
        "recent": _recent_json(figures.fleet),
        "bots": [_bot_json(view, bot, known.get(bot.bot), is_waiting=bot.bot in waiting) for bot in figures.bots],
        "orders": [order_json(order) for order in view.orders],
        "completeness": {
            "orders_in_feed": completeness.orders_in_feed,
            "orders_traced": completeness.orders_traced,
            "traces_without_order": completeness.traces_without_order,
            "profit_untraced": _amount(completeness.profit_untraced),
            "events_refused": view.feed.events_refused,
            "spans_refused": view.feed.spans_refused,
            "spans_deferred": view.feed.spans_deferred,
        },
        "copy": None if view.copy is None else asdict(view.copy),
    }


def _account_json(view: View) -> Json:
    status = view.status
    return {
        "key": view.account,
        "login_id": status.login_id if status else "",
        "currency": status.currency if status else "",
        "balance": status.balance if status else "",
        "is_demo": status.is_demo if status else None,
        "dialect": status.dialect if status else "",
    }


def _gateway_json(view: View) -> Json:
    status = view.status
    return {
        "connected": view.feed.connected,
        "problem": view.feed.problem,
        "lag_s": view.feed.lag_s,
        "status_age_s": max(0.0, (view.now_ns - status.time_ns) / NS_PER_S) if status else None,
        "started_s": status.started_ns / NS_PER_S if status else None,
        "rejected_by_deriv": status.rejected_by_deriv if status else None,
        "calls_sent": status.calls_sent if status else None,
        "foreign_trades": status.foreign_trades if status else None,
        "connections": [asdict(one) for one in status.connections] if status else [],
        "quota": [asdict(window) for window in status.windows] if status else [],
        "shares": [asdict(one) for one in view.quota.shares if _is_in_use(one)] if view.quota else [],
        "next_calls": [asdict(one) for one in view.quota.next_calls] if view.quota else [],
        "savings": [asdict(one) for one in view.quota.savings] if view.quota else [],
        "breaker": _breaker_json(view.quota.breaker) if view.quota and view.quota.breaker.state else None,
    }


def _is_in_use(share: QuotaShare) -> bool:
    """Most shares of a large fleet are idle, and the page gets them every second."""
    return bool(share.used or share.borrowed or share.lent or share.waiting)


def _breaker_json(breaker: CircuitBreaker) -> Json:
    return {
        "state": breaker.state,
        "since_s": breaker.since_ns / NS_PER_S,
        "reason": breaker.reason,
        "retry_s": breaker.retry_ns / NS_PER_S or None,
    }


def _bot_json(view: View, figures: BotFigures, known: Bot | None, *, is_waiting: bool) -> Json:
    curve = view.bot_curves.get(figures.bot)
    return {
        "bot": figures.bot,
        "strategy": known.parameters.strategy if known else "",
        "symbols": list(known.symbols) if known else [],
        "state": "waiting" if is_waiting else _state_of(view, figures),
        "open": view.open_orders.get(figures.bot, 0),
        "total": _total_json(curve),
        "curve": _curve_json(curve, view.now_ns),
        "recent": _recent_json(figures),
    }


def _state_of(view: View, figures: BotFigures) -> str:
    """What a bot is doing, from what the last minutes saw of it."""
    if figures.pnl.buys or view.open_orders.get(figures.bot):
        return "trading"
    return "watching" if figures.ops else "silent"


def _recent_json(figures: BotFigures) -> Json:
    return {
        "ops": figures.ops,
        "buys": figures.pnl.buys,
        "settled": figures.pnl.settled,
        "wins": figures.pnl.wins,
        "profit": _amount(figures.pnl.profit),
        "staked": _amount(figures.pnl.staked),
        "phases": {one.phase: asdict(one) for one in figures.phases},
        "errors": [{"code": code, "count": count} for code, count in figures.errors],
    }


def _total_json(curve: ProfitCurve | None) -> Json:
    total = curve.total() if curve else None
    return {
        "since_s": curve.since_s if curve else None,
        "settled": total.settled if total else 0,
        "wins": total.wins if total else 0,
        "win_rate": total.wins / total.settled if total and total.settled else None,
        "profit": _amount(total.profit) if total else "0",
    }


def _curve_json(curve: ProfitCurve | None, now_ns: int) -> list[list[float | str]]:
    # The newest bucket is still filling: its end may lie ahead of the clock.
    now_s = now_ns / NS_PER_S
    return [[min(point.end_s, now_s), _amount(point.profit)] for point in curve.points()] if curve else []


def order_json(order: OrderRecord) -> Json:
    """One order for people and programs."""
    return {
        "account": order.account,
        "order_id": order.order_id,
        "bot": order.bot,
        "contract_type": order.contract_type,
        "symbol": order.symbol,
        "barrier": order.barrier,
        "duration": order.duration,
        "duration_unit": order.duration_unit,
        "stake": _optional(order.stake),
        "state": order.state,
        "contract_id": order.contract_id,
        "buy_price": _optional(order.buy_price),
        "payout": _optional(order.payout),
        "sell_price": _optional(order.sell_price),
        "profit": _optional(order.profit),
        "error_code": order.error_code,
        "error_message": order.error_message,
        "reconciled": order.reconciled,
        "doubt": order.doubt,
        "trace_id": order.trace_id,
        "changed_s": order.changed_ns / NS_PER_S,
        "settled_s": order.settled_ns / NS_PER_S or None,
    }


def _optional(value: Decimal | None) -> str | None:
    return None if value is None else _amount(value)


def _amount(value: Decimal) -> str:
    return f"{value:f}"
