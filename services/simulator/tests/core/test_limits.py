"""Counters belong to one user and one bucket."""

from __future__ import annotations

from derivfleet.deriv.limits import LEGACY_LIMITS, OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call
from derivfleet.simulator.core.limits import CallCounts, CallLimits
from derivfleet.simulator.core.windows import WindowKind


def admitted(limits: CallLimits, key: str, call: Call, count: int, now_ns: int = 0) -> int:
    return sum(limits.admit(OPTIONS_LIMITS, key, call, now_ns) for _ in range(count))


def test_calls_of_a_bucket_share_its_windows() -> None:
    limits = CallLimits(WindowKind.SLIDING, count_refused=False)
    assert admitted(limits, "a", Call.BALANCE, 60) == 60
    assert admitted(limits, "a", Call.STATEMENT, 60) == 40
    assert admitted(limits, "a", Call.PORTFOLIO, 60) == 30


def test_users_do_not_share() -> None:
    limits = CallLimits(WindowKind.SLIDING, count_refused=False)
    assert admitted(limits, "a", Call.PORTFOLIO, 60) == admitted(limits, "b", Call.PORTFOLIO, 60) == 30


def test_the_hour_binds_where_the_minute_does_not() -> None:
    limits = CallLimits(WindowKind.FIXED_FROM_FIRST_HIT, count_refused=True)
    total = sum(admitted(limits, "a", Call.BALANCE, 100, minute * 60_000_000_000) for minute in range(59))
    assert total == 2000


def test_free_calls_are_never_counted() -> None:
    limits = CallLimits(WindowKind.SLIDING, count_refused=True)
    assert all(limits.admit(LEGACY_LIMITS, "a", Call.TIME, 0) for _ in range(10_000))


def test_counts_tell_accepted_from_refused() -> None:
    counts = CallCounts()
    counts.count("buy", admitted=True)
    counts.count("buy", admitted=False)
    counts.count("buy", admitted=False)
    assert (counts.accepted["buy"], counts.refused["buy"]) == (1, 2)
