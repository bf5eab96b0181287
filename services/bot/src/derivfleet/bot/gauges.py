"""What Prometheus may know of a bot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.prometheus import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from derivfleet.bot.core.trader import Trader

__all__ = ["gauges"]


def gauges(bot: str, trader: Trader, last_tick_ns: int, last_decision_ns: int) -> Iterator[Metric]:
    """All of them, since this process began. Times are the fleet's clock; 0 if there was none yet."""
    counts, labels = trader.counters, ("bot",)
    outcomes = {
        "decided": counts.decided,
        "late": counts.late,
        "followed": counts.followed,
        "settled": counts.settled,
        "won": counts.wins,
        "failed": counts.errors,
        "unanswered": counts.silences,
    }
    trades = {(bot, name): count for name, count in outcomes.items()}
    yield counter("bot_trades", "Decisions of this process, by how far they came", ("bot", "outcome"), trades)
    yield gauge("bot_profit", "What its settled trades brought", labels, {(bot,): float(counts.profit)})
    yield gauge("bot_open_orders", "Orders whose end it waits for", labels, {(bot,): len(trader.open_orders)})
    yield gauge("bot_symbols_held", "Symbols that it may trade now", labels, {(bot,): len(trader.held_symbols)})
    tick_s, decision_s = last_tick_ns / NS_PER_S, last_decision_ns / NS_PER_S
    yield gauge("bot_last_tick_seconds", "When the last tick came", labels, {(bot,): tick_s})
    yield gauge("bot_last_decision_seconds", "When it last decided to trade", labels, {(bot,): decision_s})
