from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.limits import NS_PER_S, CallLimits, CallLog, scaled


def most_in_any_window(starts: list[int], length: int) -> int:
    """The oracle: for every window that begins at a call, count the calls in it."""
    return max((sum(1 for other in starts if start <= other < start + length) for start in starts), default=0)


@settings(deadline=None)
@given(
    limit=st.integers(1, 5),
    length=st.integers(1, 50),
    wishes=st.lists(st.integers(0, 200), max_size=60),
)
def test_no_span_of_the_window_ever_holds_more_than_the_limit(limit: int, length: int, wishes: list[int]) -> None:
    log = CallLog(limit, length)
    starts: list[int] = []
    for wish in wishes:
        start = log.earliest_ns(wish)
        log.add(start)
        starts.append(start)
    assert most_in_any_window(starts, length) <= limit


@settings(deadline=None)
@given(limit=st.integers(1, 4), length=st.integers(1, 20), wishes=st.lists(st.integers(0, 60), max_size=25))
def test_a_call_starts_at_the_first_instant_that_fits(limit: int, length: int, wishes: list[int]) -> None:
    log = CallLog(limit, length)
    starts: list[int] = []
    for wish in wishes:
        by_hand = wish
        while most_in_any_window([*starts, by_hand], length) > limit:
            by_hand += 1
        assert log.earliest_ns(wish) == by_hand
        log.add(by_hand)
        starts.append(by_hand)


def test_what_is_given_back_can_be_used_again() -> None:
    log = CallLog(1, 10)
    log.add(0)
    assert log.earliest_ns(1) == 10
    log.remove(0)
    assert log.earliest_ns(1) == 1
    log.remove(5)  # was never there
    assert log.used(5) == 0


def test_linked_windows_bind_one_after_the_other() -> None:
    limits = CallLimits(OPTIONS_LIMITS, {"money": {60: 2, 3600: 3}}, margin_s=0)
    starts: list[float] = []
    bindings: list[str] = []
    for _ in range(4):
        start, binding = limits.earliest_ns(Call.STATEMENT, 0)
        limits.spend(Call.STATEMENT, start, 0)
        starts.append(start / NS_PER_S)
        bindings.append(binding)
    assert starts == [0, 0, 60, 3600]
    assert bindings == ["", "", "money/60s", "money/3600s"]
    assert [(use.window_s, use.used) for use in limits.use(0)] == [(60, 4), (3600, 4)]


def test_free_calls_are_never_counted() -> None:
    limits = CallLimits(OPTIONS_LIMITS, scaled(OPTIONS_LIMITS, 0.001), margin_s=0)
    for _ in range(100):
        assert limits.earliest_ns(Call.PING, 5) == (5, "")
        limits.spend(Call.PING, 5, 5)
    assert limits.remaining(Call.PING, 5) > 1000


def test_a_refusal_by_deriv_rests_the_bucket_for_a_minute() -> None:
    limits = CallLimits(OPTIONS_LIMITS, scaled(OPTIONS_LIMITS, 1), margin_s=0)
    limits.refused(Call.BUY, 0)
    assert limits.earliest_ns(Call.SELL, 0) == (60 * NS_PER_S, "trade/refused")
    assert limits.earliest_ns(Call.BALANCE, 0) == (0, "")


def test_the_margin_makes_windows_longer() -> None:
    limits = CallLimits(OPTIONS_LIMITS, {"money": {60: 1, 3600: 100}}, margin_s=0.5)
    limits.spend(Call.BALANCE, 0, 0)
    assert limits.earliest_ns(Call.BALANCE, 0)[0] == 60.5 * NS_PER_S


def test_told_limits_replace_the_built_in_ones_and_keep_the_count() -> None:
    limits = CallLimits(OPTIONS_LIMITS, {"money": {60: 5, 3600: 100}}, margin_s=0)
    for _ in range(3):
        limits.spend(Call.BALANCE, 0, 0)
    limits.adopt(OPTIONS_LIMITS, {"money": {60: 3}, "new": {60: 1}})
    assert limits.remaining(Call.BALANCE, 0) == 0


def test_scaling_never_forbids_a_bucket_altogether() -> None:
    assert scaled(OPTIONS_LIMITS, 0.001)["lists"][60] == 1
    assert scaled(OPTIONS_LIMITS, 0.95)["trade"] == {60: 342, 3600: 13680}
