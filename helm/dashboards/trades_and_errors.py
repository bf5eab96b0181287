"""What the bots do and what fails, by bot, by outcome and by code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.spans import Attribute
from helm.dashboards.panels import curves, events, linked, query, stacked
from helm.dashboards.promql import SPAN, anew, label, legend, per_second
from helm.dashboards.span_selectors import GATEWAY, GATEWAY_ERRORS, SETTLED, TRADES
from helm.dashboards.variables import trade_url

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.timeseries import Panel

__all__ = ["trades_and_errors"]


def trades_and_errors() -> list[Panel]:
    """Two lines of panels: what is done, what fails."""
    bot, code, state = Attribute.BOT, Attribute.ERROR_CODE, Attribute.STATE
    trades = curves(
        "Trades by bot",
        "Trades that ended, by the bot that decided on them, whatever came of them; and the orders that settled.",
        [
            query(per_second(TRADES, bot), legend(bot)),
            query(per_second(SETTLED), "all that settled", ref="B"),
        ],
        "ops",
    )
    outcomes = curves(
        "Trades by outcome",
        "How trades end. settled: bought and booked. rejected: Deriv said no. refused: the gateway answered with an "
        "error, as when the limits left no turn. denied: it did not send the order. not_found: it was sent, but the "
        "account's records show no purchase. lapsed: no answer came while the decision was fresh, and nothing was "
        "bought. Any other state: the bot ended before the trade did.",
        [query(per_second(TRADES, state), legend(state))],
        "ops",
    )
    symbols = curves(
        "Trades by symbol",
        "The same trades by market. A market that is closed, or whose ticks have stopped, is a line that ends.",
        [query(per_second(TRADES, Attribute.SYMBOL), legend(Attribute.SYMBOL))],
        "ops",
    )
    calls = curves(
        "Calls by bot",
        "Calls to the gateway: purchases, sales, checks, histories, the opening of streams.",
        [query(per_second(GATEWAY, bot), legend(bot))],
        "reqps",
    )
    codes = events(
        "Errors by code",
        "Calls to the gateway that failed, from each point to the next. TURN_REFUSED and LIMIT_REACHED: the turn would "
        "come after the caller's deadline. NOT_CONNECTED: there is no usable socket. DERIV_SICK: orders got no "
        "answers, so none is opened for now. ANSWER_LOST: it was sent and no answer came; the gateway looks for the "
        "order in the account's records. Codes in CamelCase are Deriv's own.",
        query(anew(GATEWAY_ERRORS, code), legend(code)),
    )
    bots = events(
        "Errors by bot",
        "The same errors by the bot that called. One bot alone: look at its strategy and symbols. All at once: look at "
        "the gateway and at Deriv.",
        query(anew(GATEWAY_ERRORS, bot), legend(bot)),
    )
    kinds = curves(
        "Calls by kind",
        "What the gateway is asked for. gateway.stream counts openings: many of them mean that bots restart, or that "
        "connections break.",
        [query(per_second(GATEWAY, SPAN), legend(SPAN))],
        "reqps",
    )
    to_trades = trade_url(bot=f"${{__field.labels.{label(bot)}}}")
    return [
        linked(trades, "Trades of this bot", to_trades).span(6),
        stacked(outcomes).span(6),
        symbols.span(6),
        linked(calls, "Trades of this bot", to_trades).span(6),
        codes,
        linked(bots, "Trades of this bot", to_trades),
        kinds,
    ]
