"""Sums of orders against the same said otherwise: one pass over the whole, and textbook formulas."""

from __future__ import annotations

from decimal import Decimal
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.sums.profit_and_loss import (
    EMPTY,
    OpenStake,
    ProfitAndLoss,
    Settlement,
    exposure_of,
    profit_and_loss_of,
    wilson,
)

cents = st.integers(-50_000, 50_000).map(lambda value: Decimal(value).scaleb(-2))
orders = st.lists(st.builds(Settlement, st.just("b"), st.just("s"), cents, cents.map(abs), st.booleans()), max_size=40)


@given(st.lists(orders, max_size=5))
def test_pieces_in_order_say_what_the_whole_says(pieces: list[list[Settlement]]) -> None:
    joined = EMPTY
    for piece in pieces:
        joined = joined.then(ProfitAndLoss.of(profit_and_loss_of(piece, 2, []).body()))
    settled = [one for piece in pieces for one in piece]
    assert joined == profit_and_loss_of(settled, 2 * len(pieces), [])
    running = [Decimal(0), *accumulate(one.profit for one in settled)]
    assert joined.drawdown == max(max(running[: at + 1]) - value for at, value in enumerate(running))
    assert joined.wins == sum(one.profit > 0 for one in settled)
    assert joined.untraced_profit == sum((one.profit for one in settled if not one.traced), Decimal(0))


open_stakes = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 20), cents.map(abs)).map(
        lambda one: OpenStake(one[0], one[0] + one[1], one[2])
    ),
    max_size=20,
)


@given(open_stakes)
def test_exposure_is_what_is_at_stake_at_each_instant(held: list[OpenStake]) -> None:
    each = [sum((one.amount for one in held if one.from_ns <= at < one.to_ns), Decimal(0)) for at in range(80)]
    total, peak = exposure_of(held)
    assert total == sum(each, Decimal(0)) / 10**9
    assert peak == max(each)


@pytest.mark.parametrize(
    ("wins", "settled", "low", "high"),
    # Of the method's own paper and of R's binom.confint(method = "wilson").
    [
        (0, 0, 0.0, 1.0),
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (540, 1000, 0.5090, 0.5707),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_the_interval_of_the_win_rate(wins: int, settled: int, low: float, high: float) -> None:
    assert wilson(wins, settled) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_the_drawdown_of_one_who_only_loses_is_all_that_was_lost() -> None:
    losses = [Settlement("b", "s", Decimal(-1), Decimal(1), True)] * 3
    assert profit_and_loss_of(losses, 0, []).drawdown == 3


def test_getting_the_stake_back_is_no_win() -> None:
    even = profit_and_loss_of([Settlement("b", "s", Decimal(0), Decimal(1), True)], 0, [])
    assert (even.settled, even.wins, even.profit) == (1, 0, 0)
