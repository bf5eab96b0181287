"""The reserve's horizons against the Poisson distribution itself."""

from __future__ import annotations

from math import exp, factorial

import pytest

from derivfleet.gateway.core.reserve import GRACE_NS, horizons_ns

S = 10**9


def more_than(kept: int, mean: float) -> float:
    """How likely it is that more than so many events come where so many are expected."""
    return 1 - sum(exp(-mean) * mean**events / factorial(events) for events in range(kept + 1))


@pytest.mark.parametrize("a_minute", [1.0, 3.0, 22.0, 36.0])
def test_within_its_horizon_a_reserve_runs_out_in_one_case_of_two_hundred_at_most(a_minute: float) -> None:
    rate_per_ns = a_minute / (60 * S)
    horizons = horizons_ns(rate_per_ns, 60 * S, 100)
    assert horizons
    for kept, horizon_ns in enumerate(horizons):
        mean = (horizon_ns - GRACE_NS) * rate_per_ns
        assert more_than(kept, mean) <= 0.005
        # And hardly more is kept than is needed: a third more exits would be too many.
        assert kept < 3 or more_than(kept, (4 / 3) * mean) > 0.005


def test_more_kept_calls_last_longer_and_none_lasts_for_the_grace() -> None:
    horizons = horizons_ns(36 / (60 * S), 60 * S, 200)
    assert horizons[0] == GRACE_NS
    assert list(horizons) == sorted(horizons)
    assert horizons[-1] < 60 * S


def test_no_more_is_kept_than_wanted_however_small_the_window() -> None:
    assert len(horizons_ns(1 / (60 * S), 3600 * S, 2)) == 2
    assert horizons_ns(1 / (60 * S), 60 * S, 0) == ()
