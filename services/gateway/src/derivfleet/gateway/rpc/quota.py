"""The account's limits as the contract tells them: windows, shares, forecasts, savings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.vocabulary import Call
from derivfleet.v1 import quota_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from derivfleet.gateway.core.quota import Forecast, Quota

__all__ = ["forecast_message", "next_call_messages", "saved_messages", "share_messages", "window_messages"]

NS_PER_MS = 1_000_000
CALLS_OF_BOTS = (Call.BUY, Call.SELL, Call.PROPOSAL_OPEN_CONTRACT, Call.TICKS_HISTORY)
"""What bots make the gateway call. Of those in one bucket the first stands for all."""


def window_messages(quota: Quota, now_ns: int) -> list[quota_pb2.QuotaWindow]:
    """The account's windows."""
    return [
        quota_pb2.QuotaWindow(
            bucket=use.bucket,
            window_s=use.window_s,
            limit=use.limit,
            used=use.used,
            deriv_limit=quota.table.buckets[use.bucket].windows[use.window_s],
            reserved=use.reserved,
        )
        for use in quota.use(now_ns)
    ]


def share_messages(quota: Quota, now_ns: int, only_bot: str = "") -> list[quota_pb2.QuotaShare]:
    """Each bot's part of the windows; one bot's alone if it is named."""
    return [
        quota_pb2.QuotaShare(
            bot=use.bot,
            bucket=use.bucket,
            window_s=use.window_s,
            share=use.share,
            used=use.used,
            borrowed=use.borrowed,
            lent=use.lent,
            waiting=use.waiting,
        )
        for use in quota.share_use(now_ns)
        if only_bot in ("", use.bot)
    ]


def forecast_message(forecast: Forecast, waited_ms: int = 0) -> quota_pb2.Forecast:
    """What to expect of the next call; ``waited_ms`` is how long this one waited."""
    return quota_pb2.Forecast(
        bucket=forecast.bucket,
        remaining=forecast.remaining,
        share=forecast.share,
        waited_ms=waited_ms,
        # Rounded up: a call that has to wait at all must not be told to come at once.
        wait_ms=-(-forecast.wait_ns // NS_PER_MS),
        binding_window=forecast.binding,
    )


def next_call_messages(quota: Quota, bots: Iterable[str], now_ns: int) -> list[quota_pb2.NextCall]:
    """When each bot's next call could start, for each bucket that bots make calls in."""
    standing: dict[str, Call] = {}
    for call in CALLS_OF_BOTS:
        bucket = quota.table.bucket_of(call)
        if bucket is not None:
            standing.setdefault(bucket.name, call)
    return [
        quota_pb2.NextCall(bot=bot, call=call, forecast=forecast_message(quota.forecast(bot, call, now_ns)))
        for bot in bots
        for call in standing.values()
    ]


def saved_messages(counts: Mapping[str, int]) -> list[quota_pb2.CallsSaved]:
    """Calls that Deriv never saw, by what was asked for."""
    return [quota_pb2.CallsSaved(kind=kind, calls=calls) for kind, calls in sorted(counts.items())]
