"""The reserve's horizons against the Poisson distribution itself."""

from __future__ import annotations

from math import ceil, exp, lgamma, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.gateway.core.quota.exit_reserve import (
    GRACE_NS,
    HIGHEST_LEVEL,
    LATE_PART,
    LOWEST_LEVEL,
    RUNS_OUT_PART,
    Budget,
    horizons_ns,
    risk,
)

S = 10**9


def more_than(kept: int, mean: float) -> float:
    """How likely it is that more than so many events come where so many are expected."""
    return 1 - sum(exp(events * log(mean) - mean - lgamma(events + 1)) for events in range(kept + 1))


@pytest.mark.parametrize("a_minute", [1.0, 3.0, 22.0, 36.0])
def test_a_reserve_runs_out_within_its_horizon_as_seldom_as_it_may_and_no_more_seldom(a_minute: float) -> None:
    rate_per_ns = a_minute / (60 * S)
    horizons = horizons_ns(rate_per_ns, 60 * S, 100)
    assert horizons
    for kept, horizon_ns in enumerate(horizons):
        mean = (horizon_ns - GRACE_NS) * rate_per_ns
        assert more_than(kept, mean) == pytest.approx(RUNS_OUT_PART, rel=1e-4)


def test_more_kept_calls_last_longer_and_none_lasts_for_the_grace() -> None:
    horizons = horizons_ns(36 / (60 * S), 60 * S, 200)
    assert GRACE_NS <= horizons[0] <= GRACE_NS + S
    assert horizons == sorted(horizons)
    assert horizons[-1] < 60 * S


def test_the_largest_windows_are_reckoned_soon_and_as_well() -> None:
    horizons = horizons_ns(1e-6, 10**15, 50_000)
    assert len(horizons) == 50_000
    assert horizons == sorted(horizons)
    for kept in (199, 200, 250):  # the last one by the law, the first ones by its approximation
        mean = (horizons[kept] - GRACE_NS) * 1e-6
        assert more_than(kept, mean) == pytest.approx(RUNS_OUT_PART, rel=0.02)


def test_no_more_is_kept_than_wanted_however_small_the_window() -> None:
    assert len(horizons_ns(1 / (60 * S), 3600 * S, 2)) == 2
    assert horizons_ns(1 / (60 * S), 60 * S, 0) == []


def exits(budget: Budget, *, in_time: int = 0, late: int = 0) -> int:
    """The level after so many exits, of which the late ones come last."""
    for number in range(in_time + late):
        budget.take(GRACE_NS + (number >= in_time))
    return budget.level


def test_who_overdraws_the_budget_takes_less_risk_and_who_saves_takes_more() -> None:
    assert exits(Budget(), late=1) < 0 < exits(Budget(), in_time=1000)
    budget = Budget()
    assert exits(budget, late=2, in_time=ceil(2 / LATE_PART) - 3) == -1
    assert exits(budget, in_time=1) == 0
    assert [risk(level) for level in (-4, 0, 4)] == pytest.approx([RUNS_OUT_PART * part for part in (0.5, 1, 2)])
    assert horizons_ns(1e-9, 60 * S, 20, 1)[5] > horizons_ns(1e-9, 60 * S, 20)[5] > horizons_ns(1e-9, 60 * S, 20, -1)[5]


def test_neither_long_luck_nor_a_rush_is_remembered_for_ever() -> None:
    budget = Budget()
    assert exits(budget, in_time=100_000) == HIGHEST_LEVEL
    assert exits(budget, late=1000) == LOWEST_LEVEL
    assert exits(budget, in_time=ceil(-LOWEST_LEVEL * 2 / LATE_PART) + 1) == 0


@given(st.lists(st.booleans(), max_size=400))
def test_a_level_is_said_to_change_when_it_does(lates: list[bool]) -> None:
    budget, level = Budget(), 0
    for late in lates:
        assert budget.take(GRACE_NS + late) == (budget.level != level)
        level = budget.level
        assert LOWEST_LEVEL <= level <= HIGHEST_LEVEL
