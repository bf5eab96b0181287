"""Deriv as the gateway meets it: the waits for each limit, the calls, how they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.spans import Attribute
from helm.dashboards.panels import alarming, curves, events, level, linked, query, with_levels
from helm.dashboards.promql import anew, label, legend, per_second, quantile
from helm.dashboards.span_selectors import (
    ADMISSIONS_REFUSED,
    DEADLINE_MS,
    DERIV_CALLS,
    DERIV_ERRORS,
    RATE_REFUSED,
    TICK_MS,
    WAITS,
)
from helm.dashboards.variables import trade_url

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.timeseries import Panel

__all__ = ["deriv_limits"]


def deriv_limits() -> list[Panel]:
    """Two lines: waiting for the limits, and what Deriv says."""
    bot, bucket, call, code = Attribute.BOT, Attribute.BUCKET, Attribute.CALL, Attribute.ERROR_CODE
    waits = curves(
        "Wait for quota by bucket, p95",
        "Deriv counts calls in buckets, each with a limit a minute and an hour. trade: the bucket had room. trade/60s, "
        "trade/3600s: the call waited for that window. trade/refused: Deriv refused a call, and the bucket rests.",
        [query(quantile(0.95, WAITS, bucket), legend(bucket), exemplars=True)],
        "ms",
    )
    admitted = curves(
        "Calls admitted by bucket",
        "Calls that the limits let through, by the bucket or window that they waited for.",
        [query(per_second(WAITS, bucket), legend(bucket))],
        "reqps",
    )
    refused = events(
        "Calls not admitted by bot",
        "Calls that could start only after the caller's deadline: the gateway said so at once, and nothing was "
        "sent. The bot decides again at a later tick.",
        query(anew(ADMISSIONS_REFUSED, bot), legend(bot)),
    )
    latency = curves(
        "Deriv's answers by call, p95",
        "From the hand-over of a frame to the socket until its answer, without the wait for quota.",
        [query(quantile(0.95, DERIV_CALLS, call), legend(call), exemplars=True)],
        "ms",
    )
    calls = curves(
        "Calls to Deriv",
        "Frames sent, by call. Ticks and settlements come by themselves and cost nothing.",
        [query(per_second(DERIV_CALLS, call), legend(call))],
        "reqps",
    )
    errors = events(
        "Deriv's errors",
        "Calls that Deriv answered with an error, or whose answer was lost, from each point to the next.",
        query(anew(DERIV_ERRORS, call, code), f"{legend(call)} {legend(code)}"),
    )
    rate = events(
        "Refusals for rate",
        "The errors among them that say that the account called too often. There are none while the gateway is the "
        "only one that uses the account.",
        query(anew(RATE_REFUSED, call), legend(call)),
    )
    to_trades = trade_url(bot=f"${{__field.labels.{label(bot)}}}")
    return [
        with_levels(waits, level(TICK_MS, DEADLINE_MS)),
        admitted,
        linked(refused, "Trades of this bot", to_trades),
        latency.span(6),
        calls.span(6),
        errors.span(6),
        alarming(rate).span(6),
    ]
