"""One bucket's limits: how deep each tier reaches, and when the next call may start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.gateway.core.quota.call_log import NEVER_NS
from derivfleet.gateway.core.quota.windows import BucketLimits, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

S = 10**9


def limits(windows: Mapping[int, int], headroom: float = 1.0) -> BucketLimits:
    return BucketLimits("trade", windows, headroom)


def spend(bucket: BucketLimits, calls: int, landed_ns: int | None) -> None:
    for _ in range(calls):
        bucket.spend(Tier.EXIT)
        if landed_ns is not None:
            bucket.log.land(landed_ns)


def startable(bucket: BucketLimits, tier: Tier, now_ns: int) -> int:
    """How many calls of a tier start now, each by itself."""
    calls = 0
    while bucket.earliest_ns(tier, now_ns)[0] <= now_ns:
        bucket.spend(tier)
        calls += 1
    return calls


def test_exits_reach_to_the_last_call_and_ordinary_ones_less_deep_and_loans_least() -> None:
    by_tier = {tier: startable(limits({60: 360, 3600: 14_400}), tier, 0) for tier in Tier}
    assert by_tier[Tier.EXIT] == 360
    assert by_tier[Tier.EXIT] > by_tier[Tier.OWN] > by_tier[Tier.LOAN]


def test_the_reserve_is_released_as_the_window_ages() -> None:
    bucket = limits({60: 360})
    free: list[int] = []
    for second in (0, 30, 50, 59):
        for _ in range(startable(bucket, Tier.OWN, second * S)):
            bucket.log.land(second * S)
        free.append(360 - bucket.log.used(0, second * S))
    assert free == sorted(free, reverse=True)
    assert free[0] > 30
    assert free[-1] <= 8


@pytest.mark.parametrize("calls", [1, 5, 10])
def test_a_full_window_has_room_when_its_first_call_returns(calls: int) -> None:
    bucket = limits({60: calls})
    spend(bucket, calls, 5 * S)
    assert bucket.earliest_ns(Tier.EXIT, 10 * S) == (5 * S + bucket.log.lengths_ns[0], "trade/60s")


def test_what_is_full_of_calls_under_way_waits_for_answers() -> None:
    bucket = limits({60: 2})
    spend(bucket, 2, None)
    assert bucket.earliest_ns(Tier.EXIT, S)[0] == NEVER_NS
    assert bucket.ready_in_ns(1, Tier.EXIT, S) == (bucket.log.lengths_ns[0], "trade/60s")
    assert bucket.log.in_flight == 2
    assert bucket.log.landed == []


def test_the_long_window_makes_wait_when_it_is_full() -> None:
    bucket = limits({60: 5, 3600: 10})
    for minute in range(2):
        spend(bucket, 5, minute * 100 * S)
    assert bucket.earliest_ns(Tier.EXIT, 300 * S) == (bucket.log.lengths_ns[1], "trade/3600s")


def test_headroom_leaves_a_part_of_each_limit_and_never_all_of_it() -> None:
    assert limits({60: 360, 3600: 14_400}, 0.95).limits == [342, 13_680]
    assert limits({60: 1, 3600: 1}, 0.1).limits == [1, 1]


def test_the_bucket_rests_after_a_refusal_and_uses_less_after_a_second_within_the_hour() -> None:
    bucket = limits({60: 100, 3600: 1000})
    bucket.refused(0)
    bucket.refused(S)
    assert bucket.earliest_ns(Tier.EXIT, 2 * S) == (61 * S, "trade/refused")
    assert (bucket.available(2 * S), bucket.limits) == (0, [100, 1000])
    bucket.refused(100 * S)
    assert bucket.limits == [95, 950]
    for minute in range(3, 40):
        bucket.refused(minute * 100 * S)
    assert bucket.limits == [50, 500]


def test_refusals_hours_apart_lower_nothing() -> None:
    bucket = limits({60: 100, 3600: 1000})
    for hour in range(5):
        bucket.refused(hour * 3601 * S)
    assert bucket.limits == [100, 1000]


def test_told_limits_replace_the_built_in_ones_and_what_was_counted_stays() -> None:
    bucket = limits({60: 10, 3600: 100})
    spend(bucket, 8, 0)
    bucket.adopt({60: 5, 86_400: 7}, 1.0)
    assert (bucket.windows_s, bucket.limits) == ([60, 3600], [5, 100])
    assert bucket.log.used(0, S) == 8
    assert startable(bucket, Tier.EXIT, S) == 0
    assert bucket.available(S) == 0
    assert bucket.earliest_ns(Tier.EXIT, S)[0] == bucket.log.lengths_ns[0]


def test_a_call_that_was_not_sent_gives_its_pace_back() -> None:
    bucket = limits({60: 10, 3600: 100})
    started = startable(bucket, Tier.OWN, 0)
    for _ in range(started):
        bucket.unspend(Tier.OWN)
    assert startable(bucket, Tier.OWN, 0) == started


SPENT = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 8), st.booleans()), max_size=12)


@settings(deadline=None)
@given(st.integers(1, 30), st.one_of(st.none(), st.integers(1, 4)), SPENT, st.sampled_from(list(Tier)))
def test_a_call_may_start_when_it_was_said_that_it_may_and_not_before(
    short: int, times: int | None, spent: list[tuple[int, int, bool]], tier: Tier
) -> None:
    bucket = limits({60: short} if times is None else {60: short, 600: short * times})
    now_ns = 0
    for pause_s, calls, lands in spent:
        now_ns += pause_s * S
        spend(bucket, calls, now_ns if lands else None)
    at_ns, binding = bucket.earliest_ns(tier, now_ns)
    assert (at_ns == now_ns) == (binding == "")
    if at_ns in (NEVER_NS, now_ns):
        return
    assert bucket.earliest_ns(tier, at_ns - 1)[0] >= at_ns
    if tier is Tier.EXIT or (times is None and tier is Tier.OWN):  # elsewhere a pace decides that is set anew
        assert bucket.earliest_ns(tier, at_ns)[0] == at_ns


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), SPENT)
def test_each_tier_reaches_at_most_as_deep_as_the_one_before(
    short: int, times: int, spent: list[tuple[int, int, bool]]
) -> None:
    bucket = limits({60: short, 600: short * times})
    now_ns = 0
    for pause_s, calls, lands in spent:
        now_ns += pause_s * S
        spend(bucket, calls, now_ns if lands else None)
        earliest = [bucket.earliest_ns(tier, now_ns)[0] for tier in Tier]
        assert earliest == sorted(earliest)
