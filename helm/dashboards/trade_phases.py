"""How long the phases of a trade take: the decision, the purchase, the settlement, and the way of a purchase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.spans import Attribute, SpanName
from helm.dashboards.panels import curves, level, query, with_levels
from helm.dashboards.promql import Matcher, Spans, legend, quantile
from helm.dashboards.span_selectors import DEADLINE_MS, DECISIONS, PURCHASES, SETTLEMENTS, TICK_MS

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.prometheus import Dataquery
    from grafana_foundation_sdk.builders.timeseries import Panel

__all__ = ["QUANTILES", "trade_phases"]

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

_OF_BUY = (Matcher(Attribute.CALL, "=", "buy"),)
_WAY_OF_A_PURCHASE = {
    "bot to bot": PURCHASES,
    "in the gateway": Spans((SpanName.GATEWAY_BUY,)),
    "waiting for quota": Spans((SpanName.QUOTA_WAIT,), _OF_BUY),
    "at Deriv": Spans((SpanName.DERIV_CALL,), _OF_BUY),
}


def trade_phases() -> list[Panel]:
    """Three panels of quantiles, and two that take a purchase apart."""
    decide = curves(
        "Decision",
        "From the arrival of a tick to the bot's decision: the strategy thinks. A diamond is one trade; a click on it "
        "leads to its trace.",
        _quantiles(DECISIONS),
        "ms",
    )
    buy = curves(
        "Purchase",
        "From the bot's question to the gateway's answer. The dashed lines are one tick of the fastest markets and the "
        "bot's deadline. A diamond is one trade; a click on it leads to its trace.",
        _quantiles(PURCHASES),
        "ms",
    )
    settle = curves(
        "Settlement",
        "From Deriv's receipt to the news that the contract has ended: as long as the contract runs, and a little. Far "
        "more than that means that news arrive late. A diamond is one trade; a click on it leads to its trace.",
        _quantiles(SETTLEMENTS),
        "ms",
    )
    way = curves(
        "The way of a purchase, p95",
        "Each line contains the ones below it. bot to bot less in the gateway: the network between them. in the "
        "gateway less the other two: the gateway's own work. at Deriv: from the socket to its answer.",
        [
            query(quantile(0.95, spans), name, ref)
            for ref, (name, spans) in zip("ABCD", _WAY_OF_A_PURCHASE.items(), strict=True)
        ],
        "ms",
    )
    by_bot = curves(
        "Purchase by bot, p95",
        "Who waits. With equal weights the lines lie together; one bot above all others wants more than its share.",
        [query(quantile(0.95, PURCHASES, Attribute.BOT), legend(Attribute.BOT))],
        "ms",
    )
    levels = level(TICK_MS, DEADLINE_MS)
    return [decide, with_levels(buy, levels), settle, way.span(12), with_levels(by_bot.span(12), levels)]


def _quantiles(spans: Spans) -> list[Dataquery]:
    # Every quantile would show the same exemplars: one query asks for them.
    return [
        query(quantile(part, spans), name, ref, exemplars=name == "p50")
        for ref, (name, part) in zip("ABC", QUANTILES.items(), strict=True)
    ]
