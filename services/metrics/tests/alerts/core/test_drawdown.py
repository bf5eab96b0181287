from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.alerts.core.drawdown import Drawdown


@given(st.lists(st.tuples(st.integers(-5, 20), st.integers(-9, 9)), max_size=40), st.integers(0, 60))
def test_the_depth_is_highest_height_of_the_window_minus_the_present_one(
    settlements: list[tuple[int, int]], late_ns: int
) -> None:
    """The oracle sums up the whole list again; news may come late, and then counts as new as what came before it."""
    window_ns = 50
    drawdown = Drawdown(window_ns)
    known: list[tuple[int, int]] = []
    time_ns = 100
    for step_ns, profit in settlements:
        time_ns += step_ns
        known.append((max([time_ns, *(at for at, _ in known)]), profit))
        drawdown.add(time_ns, Decimal(profit))
    now_ns = max([100, *(at for at, _ in known)]) + late_ns
    recent = [index for index, (at, _) in enumerate(known) if at > now_ns - window_ns]
    heights = [sum(profit for _, profit in known[:index]) for index in recent]
    present = sum(profit for _, profit in known)
    assert drawdown.depth(now_ns) == max(0, max(heights, default=present) - present)


def test_one_who_only_loses_has_fallen_by_all_that_was_lost() -> None:
    drawdown = Drawdown(300)
    for time_ns in (100, 101, 102):
        drawdown.add(time_ns, Decimal(-1))
    assert drawdown.depth(103) == 3
