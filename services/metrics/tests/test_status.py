from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.status import RefusedCount, refused_between, samples_of
from derivfleet.v1 import control_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeStatus = Callable[..., control_pb2.GetStatusResponse]


def test_a_sample_says_what_the_gateway_said(make_status: MakeStatus) -> None:
    (sample,) = samples_of(make_status(1_795_161_600, rejected=3))
    assert (sample.account, sample.balance, sample.is_demo, sample.rejected_by_deriv) == ("demo", "10012.34", True, 3)
    assert [(one.bucket, one.window_s, one.deriv_limit) for one in sample.windows] == [
        ("trade", 60, 360),
        ("trade", 3600, 14_400),
    ]
    assert sample.connections[0].role == "orders"


def test_an_account_without_a_key_is_no_sample() -> None:
    assert samples_of(control_pb2.GetStatusResponse(accounts=[control_pb2.AccountStatus()])) == []


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3), st.booleans()), max_size=30), st.integers(0, 60))
def test_refusals_are_counted_across_restarts_of_the_gateway(steps: list[tuple[int, int, bool]], start: int) -> None:
    """The oracle knows when each refusal came; the counts only know running sums since the gateway's last start."""
    now, started, running = 0, 0, 0
    counts = [RefusedCount(now, started, running)]
    happened: list[tuple[int, int]] = []
    for wait, refusals, restarted in steps:
        if restarted:
            started, running = now + 1, 0
        now += wait + 1
        running += refusals
        happened.append((now, refusals))
        counts.append(RefusedCount(now, started, running))
    expected = sum(refusals for time, refusals in happened if start < time)
    assert refused_between(counts, start, now) == expected


def test_counts_after_the_period_are_left_out() -> None:
    counts = [RefusedCount(0, 0, 0), RefusedCount(10, 0, 2), RefusedCount(20, 0, 5)]
    assert refused_between(counts, 0, 15) == 2


def test_what_was_refused_before_anybody_looked_belongs_to_no_period() -> None:
    assert refused_between([RefusedCount(50, 10, 9), RefusedCount(60, 10, 10)], 40, 100) == 1
    assert refused_between([RefusedCount(50, 45, 9)], 40, 100) == 9
