"""Rise or fall by moving averages, against an oracle in exact fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.bot.strategies import decide
from derivfleet.common.strategy_parameters import MovingAverage
from derivfleet.deriv.ticks import Tick


def ticks_of(*quotes: str) -> list[Tick]:
    return [Tick("R_100", index, Decimal(quote), 2) for index, quote in enumerate(quotes)]


@pytest.mark.parametrize(
    ("quotes", "contract_type"), [(("1", "2", "3"), "CALL"), (("3", "2", "1"), "PUT"), (("2", "2", "2"), None)]
)
def test_the_side_of_the_fast_mean_decides(quotes: tuple[str, ...], contract_type: str | None) -> None:
    decision = decide(MovingAverage(fast_ticks=2, slow_ticks=3, duration_ticks=4), ticks_of(*quotes))
    assert (decision and decision.contract_type) == contract_type
    assert decision is None or (decision.duration_ticks, decision.barrier) == (4, None)


def test_or_equal_buys_the_types_that_win_a_tie() -> None:
    parameters = MovingAverage(fast_ticks=2, slow_ticks=3, or_equal=True)
    rise, fall = decide(parameters, ticks_of("1", "2", "3")), decide(parameters, ticks_of("3", "2", "1"))
    assert rise is not None
    assert fall is not None
    assert (rise.contract_type, fall.contract_type) == ("CALLE", "PUTE")


def test_too_short_a_past_decides_nothing() -> None:
    assert decide(MovingAverage(fast_ticks=2, slow_ticks=4), ticks_of("1", "2", "3")) is None


@given(
    pips=st.lists(st.integers(1, 10**7), min_size=3, max_size=50),
    fast=st.integers(2, 20),
    more=st.integers(1, 20),
)
def test_it_agrees_with_means_in_exact_fractions(pips: list[int], fast: int, more: int) -> None:
    slow = fast + more
    quotes = [Decimal(pip).scaleb(-2) for pip in pips]
    decision = decide(
        MovingAverage(fast_ticks=fast, slow_ticks=slow),
        [Tick("R_100", at, quote, 2) for at, quote in enumerate(quotes)],
    )
    if len(pips) < slow:
        assert decision is None
        return
    newest_first = [Fraction(pip, 100) for pip in reversed(pips)]
    lead = mean(newest_first[:fast]) - mean(newest_first[:slow])
    assert (decision and decision.contract_type) == (None if lead == 0 else "CALL" if lead > 0 else "PUT")
