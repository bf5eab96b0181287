from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.web.profit_curve import ProfitCurve

START_S = 1_795_161_600
settled = st.lists(st.tuples(st.integers(START_S, START_S + 200_000), st.integers(-10_000, 10_000)), max_size=80)


@given(settled, st.integers(1, 20))
def test_no_cent_is_lost_however_coarse_the_curve(trades: list[tuple[int, int]], most: int) -> None:
    curve = ProfitCurve(most, 10**9)
    for time_s, cents in trades:
        curve.add(time_s, Decimal(cents).scaleb(-2))
    total = curve.total()
    assert total.settled == len(trades)
    assert total.wins == sum(cents > 0 for _, cents in trades)
    assert total.profit * 100 == sum(cents for _, cents in trades)
    points = curve.points()
    assert len(points) <= most
    assert [point.end_s for point in points] == sorted({point.end_s for point in points})
    for point in points:
        assert point.profit * 100 == sum(cents for time_s, cents in trades if time_s < point.end_s)


def test_a_curve_begins_fine_and_gets_coarser_as_it_grows() -> None:
    curve = ProfitCurve(4, 10**9)
    for second in range(4):
        curve.add(START_S + second, Decimal(1))
    assert (curve.width_s, curve.since_s, len(curve.points())) == (1, START_S, 4)
    curve.add(START_S + 4, Decimal(1))
    assert curve.width_s == 2
    assert [point.profit for point in curve.points()] == [2, 4, 5]


def test_what_is_out_of_reach_leaves_the_sum() -> None:
    curve = ProfitCurve(100, 60)
    curve.add(START_S, Decimal(5))
    curve.add(START_S + 50, Decimal(-2))
    curve.drop_before(START_S + 62)
    assert curve.total().profit == -2
    assert curve.since_s == START_S + 50


def test_an_empty_curve_has_no_beginning() -> None:
    curve = ProfitCurve(4, 60)
    assert curve.since_s is None
    assert curve.points() == []
    assert curve.total().settled == 0
