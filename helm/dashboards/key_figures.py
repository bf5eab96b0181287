"""The row of figures on top: what a person wants to know before anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.spans import Attribute
from helm.dashboards.panels import coloured, figure, level
from helm.dashboards.promql import Window, counted, quantile, share
from helm.dashboards.span_selectors import (
    DEADLINE_MS,
    GATEWAY,
    GATEWAY_ERRORS,
    PURCHASES,
    RATE_REFUSED,
    SETTLED,
    TICK_MS,
    TRADES,
    WAITS,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.stat import Panel

__all__ = ["key_figures"]


def key_figures() -> list[Panel]:
    """Six figures over the whole range."""
    refused = figure(
        "Refused for rate",
        "Calls that Deriv refused because the account made too many. The gateway keeps every limit by itself, so this "
        "is 0. Red means that something else calls with the same account and app id, or that Deriv has changed a "
        "limit. The bucket rests for a minute after each refusal.",
        f"{counted(RATE_REFUSED)} or vector(0)",
        "short",
        decimals=0,
    )
    failed = figure(
        "Calls that failed",
        "Part of the bots' calls to the gateway that ended with an error. Refusals for want of quota are among them: "
        "the panel of errors by code tells them apart.",
        share(GATEWAY_ERRORS, GATEWAY),
        "percentunit",
        decimals=1,
    )
    settled = figure(
        "Trades settled",
        "Orders that were bought, followed and booked within the range.",
        f"{counted(SETTLED)} or vector(0)",
        "short",
        decimals=0,
    )
    bots = figure(
        "Bots at work",
        "Bots that ended at least one trade within the range.",
        f"count({counted(TRADES, Attribute.BOT)} > 0) or vector(0)",
        "short",
        decimals=0,
    )
    purchase = figure(
        "Purchase, p95",
        "19 of 20 purchases were answered within this time, as the bot saw it: queue, Deriv and both networks. Above "
        "1 s the fastest markets have ticked again; after 5 s the bot asks no more.",
        quantile(0.95, PURCHASES, window=Window.RANGE),
        "ms",
    )
    wait = figure(
        "Wait for quota, p95",
        "19 of 20 calls waited at most this long for their turn within Deriv's limits. Rising means that the fleet "
        "wants more than the account may do: run fewer bots, give them longer pauses, or use another account.",
        quantile(0.95, WAITS, window=Window.RANGE),
        "ms",
    )
    return [
        coloured(refused, level(None, 1)),
        coloured(failed, level(0.01, 0.05)),
        settled,
        bots,
        coloured(purchase, level(TICK_MS, DEADLINE_MS)),
        coloured(wait, level(TICK_MS, DEADLINE_MS)),
    ]
