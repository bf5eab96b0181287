"""Calls fall into the buckets that Deriv publishes, and website_status overrides what it may."""

from __future__ import annotations

import pytest

from derivfleet.deriv.limits import LEGACY_LIMITS, OPTIONS_LIMITS, LimitsTable, with_website_status
from derivfleet.deriv.vocabulary import Call


@pytest.mark.parametrize(
    ("table", "call", "name", "windows"),
    [
        (OPTIONS_LIMITS, Call.BUY, "trade", {60: 360, 3600: 14_400}),
        (OPTIONS_LIMITS, Call.PROPOSAL_OPEN_CONTRACT, "trade", {60: 360, 3600: 14_400}),
        (OPTIONS_LIMITS, Call.STATEMENT, "money", {60: 100, 3600: 2_000}),
        (OPTIONS_LIMITS, Call.PORTFOLIO, "lists", {60: 30, 3600: 1_500}),
        (OPTIONS_LIMITS, Call.TICKS_HISTORY, "other", {60: 220, 3600: 14_400}),
        (OPTIONS_LIMITS, Call.TIME, "other", {60: 220, 3600: 14_400}),
        (LEGACY_LIMITS, Call.PROFIT_TABLE, "outcome", {60: 30, 3600: 1_500}),
        (LEGACY_LIMITS, Call.PROPOSAL, "pricing", {60: 80, 3600: 3_600}),
        (LEGACY_LIMITS, Call.BUY, "virtual_buy", {60: 60, 3600: 1_800}),
        (LEGACY_LIMITS, Call.SELL, "virtual_sell", {60: 60, 3600: 1_800}),
        (LEGACY_LIMITS, Call.AUTHORIZE, "general", {60: 220, 3600: 14_400}),
    ],
)
def test_each_call_has_its_bucket(table: LimitsTable, call: Call, name: str, windows: dict[int, int]) -> None:
    bucket = table.bucket_of(call)
    assert bucket is not None
    assert (bucket.name, dict(bucket.windows)) == (name, windows)


def test_ping_is_free_and_time_only_in_legacy() -> None:
    assert OPTIONS_LIMITS.bucket_of(Call.PING) is None
    assert LEGACY_LIMITS.bucket_of(Call.PING) is None
    assert LEGACY_LIMITS.bucket_of(Call.TIME) is None


@pytest.mark.parametrize("table", [OPTIONS_LIMITS, LEGACY_LIMITS])
def test_no_call_is_in_two_buckets_and_the_hour_never_admits_less_than_the_minute(table: LimitsTable) -> None:
    named = [call for bucket in table.buckets.values() for call in bucket.calls]
    assert len(named) == len(set(named))
    for bucket in table.buckets.values():
        assert bucket.windows[3600] >= bucket.windows[60]


def test_what_the_server_says_wins_over_the_table() -> None:
    said: dict[str, dict[str, object]] = {
        "max_requestes_general": {"applies_to": "rest of calls", "minutely": 180, "hourly": 9000},
        "max_requests_outcome": {"minutely": 25},
        "max_requests_pricing": {"minutely": "many", "hourly": 1},
        "max_proposal_subscription": {"max": 3},
    }
    table = with_website_status(LEGACY_LIMITS, said)
    assert dict(table.buckets["general"].windows) == {60: 180, 3600: 9000}
    assert table.buckets["outcome"] == LEGACY_LIMITS.buckets["outcome"]
    assert table.buckets["pricing"] == LEGACY_LIMITS.buckets["pricing"]
    assert table.buckets["virtual_buy"] == LEGACY_LIMITS.buckets["virtual_buy"]
    assert table.streams.proposals_per_connection == 3
    assert with_website_status(LEGACY_LIMITS, {}) == LEGACY_LIMITS
