"""How Deriv counts calls: buckets of calls that share a minute window and an hour window, per dialect, as data.

Counters belong to the pair (app id, account) and are shared by all its sockets. What kind of window the server uses is
not published; a client that keeps a sliding log of both spans stays inside any kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from derivfleet.deriv.vocabulary import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LEAST_CONNECTIONS",
    "LEGACY_LIMITS",
    "OPTIONS_LIMITS",
    "VIRTUAL_TRADE_WINDOWS",
    "Bucket",
    "LimitsTable",
    "RestCaps",
    "StreamCaps",
    "with_website_status",
]

MINUTE_S = 60
HOUR_S = 3600
LEAST_CONNECTIONS = 2
"""The gateway keeps one socket for orders and one for reads."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Calls counted together, and how many of them each window (in seconds) admits."""

    name: str
    calls: frozenset[Call]
    windows: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class StreamCaps:
    """How many streams one socket may hold."""

    per_connection: int = 100
    """An older page of Deriv's site; the current one does not say."""
    proposals_per_connection: int | None = None


@dataclass(frozen=True, slots=True)
class RestCaps:
    """REST calls per window in seconds; documented on Deriv's page "Limits" of August 2026."""

    per_user: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({60: 80}))
    per_address: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({60: 300, 600: 1000}))


@dataclass(frozen=True, slots=True)
class LimitsTable:
    """All limits of one dialect."""

    buckets: Mapping[str, Bucket]
    default: str
    """The bucket of every call that is in no other."""
    free: frozenset[Call]
    """Calls that no bucket counts."""
    streams: StreamCaps
    connections_per_user: int = 4
    """An older text says 5; not verified, so one less."""
    pings_per_second: int | None = None
    """Per connection."""
    rest: RestCaps = field(default_factory=RestCaps)

    def bucket_of(self, call: Call) -> Bucket | None:
        """The bucket that a call is counted in; None if it is free."""
        if call in self.free:
            return None
        for bucket in self.buckets.values():
            if call in bucket.calls:
                return bucket
        return self.buckets[self.default]


def _windows(per_minute: int, per_hour: int) -> Mapping[int, int]:
    return MappingProxyType({MINUTE_S: per_minute, HOUR_S: per_hour})


def _buckets(*buckets: Bucket) -> Mapping[str, Bucket]:
    return MappingProxyType({bucket.name: bucket for bucket in buckets})


OPTIONS_LIMITS = LimitsTable(
    buckets=_buckets(
        Bucket(
            "trade",
            frozenset({Call.PROPOSAL, Call.PROPOSAL_OPEN_CONTRACT, Call.BUY, Call.SELL}),
            _windows(360, 14_400),
        ),
        Bucket("money", frozenset({Call.BALANCE, Call.STATEMENT}), _windows(100, 2_000)),
        Bucket("lists", frozenset({Call.PORTFOLIO, Call.PROFIT_TABLE}), _windows(30, 1_500)),
        Bucket("other", frozenset(), _windows(220, 14_400)),
    ),
    default="other",
    free=frozenset({Call.PING}),
    streams=StreamCaps(),
    pings_per_second=10,
)
"""Deriv's page "Limits" of 14 August 2026. Whether a demo account has the same limits is not stated: assumed."""

VIRTUAL_TRADE_WINDOWS = _windows(60, 1_800)
"""Assumption: on a virtual legacy account, buy and sell have buckets of their own whose sizes are not published and are
said to be tighter than those of pricing."""

LEGACY_LIMITS = LimitsTable(
    buckets=_buckets(
        Bucket("outcome", frozenset({Call.PORTFOLIO, Call.STATEMENT, Call.PROFIT_TABLE}), _windows(30, 1_500)),
        Bucket("pricing", frozenset({Call.PROPOSAL, Call.PROPOSAL_OPEN_CONTRACT}), _windows(80, 3_600)),
        Bucket("virtual_buy", frozenset({Call.BUY}), VIRTUAL_TRADE_WINDOWS),
        Bucket("virtual_sell", frozenset({Call.SELL}), VIRTUAL_TRADE_WINDOWS),
        Bucket("general", frozenset(), _windows(220, 14_400)),
    ),
    default="general",
    free=frozenset({Call.PING, Call.TIME}),
    streams=StreamCaps(proposals_per_connection=5),
)
"""The numbers of one live read in 2026, grouped as an older server grouped them for a virtual account."""

_WEBSITE_STATUS_BUCKETS = {
    "max_requestes_general": "general",  # Deriv's own spelling
    "max_requests_outcome": "outcome",
    "max_requests_pricing": "pricing",
}


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and value >= 1 else None


def with_website_status(table: LimitsTable, api_call_limits: Mapping[str, Mapping[str, object]]) -> LimitsTable:
    """The table with what ``website_status.api_call_limits`` says; entries that are missing or odd change nothing."""
    buckets = dict(table.buckets)
    for key, name in _WEBSITE_STATUS_BUCKETS.items():
        entry = api_call_limits.get(key, {})
        bucket = buckets.get(name)
        per_minute, per_hour = _whole(entry.get("minutely")), _whole(entry.get("hourly"))
        if bucket and per_minute and per_hour:
            buckets[name] = replace(bucket, windows=_windows(per_minute, per_hour))
    proposals = _whole(api_call_limits.get("max_proposal_subscription", {}).get("max"))
    streams = replace(table.streams, proposals_per_connection=proposals) if proposals else table.streams
    return replace(table, buckets=MappingProxyType(buckets), streams=streams)
