from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.deriv.limits import LEGACY_LIMITS, OPTIONS_LIMITS
from derivfleet.metrics.records.gateway_status import QuotaWindow, samples_of
from derivfleet.metrics.reports.quota_use import Limits, limits_of, quota_use_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.v1.control_pb2 import GetStatusResponse

    MakeStatus = Callable[..., GetStatusResponse]

WINDOWS = (QuotaWindow("trade", 60, 0, 342, 360), QuotaWindow("trade", 3600, 0, 13_680, 14_400))


@settings(deadline=None)
@given(st.integers(1, 12_000))
def test_what_a_period_lets_through_is_what_a_greedy_caller_gets(period_s: int) -> None:
    """The oracle spends as much as it can, second by second, in fixed windows that begin with the period."""
    limit = {60: 360, 3600: 14_400}
    used = {60: 0, 3600: 0}
    spent = 0
    for second in range(period_s):
        used = {window_s: 0 if second % window_s == 0 else used[window_s] for window_s in used}
        calls = min(limit[window_s] - used[window_s] for window_s in used)
        used = {window_s: used[window_s] + calls for window_s in used}
        spent += calls
    assert Limits(OPTIONS_LIMITS, WINDOWS).allowed("trade", period_s) == spent


def test_all_of_the_limit_is_a_share_of_one() -> None:
    limits = Limits(OPTIONS_LIMITS, WINDOWS)
    (trade,) = quota_use_of({"buy": 1_000, "sell": 800, "ping": 5_000}, 300, limits)
    assert (trade.bucket, trade.calls, trade.share_of_limit) == ("trade", 1_800, 1.0)


def test_the_hour_binds_a_whole_hour() -> None:
    (trade,) = quota_use_of({"buy": 7_200}, 3_600, Limits(OPTIONS_LIMITS, WINDOWS))
    assert trade.share_of_limit == 0.5


def test_an_unheard_of_call_counts_in_the_default_bucket() -> None:
    limits = Limits(OPTIONS_LIMITS, WINDOWS)
    assert limits.bucket_of("landing_company") == "other"
    assert limits.bucket_of("ping") == ""


def test_the_gateways_knowledge_wins_over_the_published_table(make_status: MakeStatus) -> None:
    (sample,) = samples_of(make_status())
    own = replace(sample, windows=(QuotaWindow("trade", 60, 0, 95, 100),))
    limits = limits_of(own)
    assert limits is not None
    assert limits.allowed("trade", 60) == 100
    assert limits.allowed("money", 60) == 100
    assert limits.allowed("lists", 3600) == 1_500


def test_legacy_counts_purchases_on_their_own(make_status: MakeStatus) -> None:
    (sample,) = samples_of(make_status())
    limits = limits_of(replace(sample, dialect="legacy", windows=()))
    assert limits is not None
    assert limits.table is LEGACY_LIMITS
    assert limits.bucket_of("buy") == "virtual_buy"


def test_nothing_is_claimed_while_the_limits_are_not_known() -> None:
    assert limits_of(None) is None
    assert quota_use_of({"buy": 5}, 300, None) == ()
    assert Limits(OPTIONS_LIMITS, ()).allowed("trade", 60) == 0
