"""Digit over/under, against an oracle that counts digits in text and compares whole numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from derivfleet.bot.strategies import decide
from derivfleet.common.strategy_parameters import DigitFrequency
from derivfleet.deriv.ticks import Tick

DIGITS = "0123456789"


def ticks_of(digits: str) -> list[Tick]:
    return [Tick("R_100", index, Decimal(f"100.{digit}"), 1) for index, digit in enumerate(digits)]


def test_over_is_bought_when_it_came_up_less_often_than_it_should() -> None:
    parameters = DigitFrequency(side="over", barrier=4, window_ticks=10)
    assert decide(parameters, ticks_of("5678900000")) is not None  # 5 of 10, exactly fair
    assert decide(parameters, ticks_of("5678960000")) is None  # 6 of 10
    bought = decide(parameters, ticks_of("9999999000000"))  # 3 of the last 10: older ticks do not count
    assert bought is not None
    assert (bought.contract_type, bought.barrier, bought.duration_ticks) == ("DIGITOVER", "4", 1)


def test_under_looks_below_the_barrier() -> None:
    parameters = DigitFrequency(side="under", barrier=3, window_ticks=10, duration_ticks=5)
    assert decide(parameters, ticks_of("0123456789")) is not None
    assert decide(parameters, ticks_of("0122456789")) is None
    bought = decide(parameters, ticks_of("3333333333"))
    assert bought is not None
    assert (bought.contract_type, bought.barrier, bought.duration_ticks) == ("DIGITUNDER", "3", 5)


@pytest.mark.parametrize(("digits", "trades"), [("5" * 4 + "0" * 6, True), ("5" * 5 + "0" * 5, False)])
def test_a_deficit_must_be_reached_and_its_edge_counts(digits: str, *, trades: bool) -> None:
    parameters = DigitFrequency(side="over", barrier=4, window_ticks=10, deficit=0.1)
    assert (decide(parameters, ticks_of(digits)) is not None) == trades


def test_a_deficit_of_minus_one_always_trades() -> None:
    parameters = DigitFrequency(side="over", barrier=0, window_ticks=5, deficit=-1.0)
    assert decide(parameters, ticks_of("99999")) is not None


def test_too_short_a_past_decides_nothing() -> None:
    parameters = DigitFrequency(window_ticks=25, deficit=-1.0)
    assert decide(parameters, ticks_of("0" * 24)) is None
    assert decide(parameters, ticks_of("0" * 25)) is not None


@given(
    digits=st.text(DIGITS, min_size=5, max_size=60),
    side=st.sampled_from(["over", "under"]),
    barrier=st.integers(0, 9),
    window=st.integers(5, 60),
    points=st.integers(-100, 100),
)
def test_it_trades_exactly_when_the_shortfall_reaches_the_deficit(
    digits: str, side: str, barrier: int, window: int, points: int
) -> None:
    winning = DIGITS[barrier + 1 :] if side == "over" else DIGITS[:barrier]
    assume(winning)
    parameters = DigitFrequency.model_validate(
        {"side": side, "barrier": barrier, "window_ticks": window, "deficit": points / 100}
    )
    seen = [digits[-1 - back] in winning for back in range(min(window, len(digits)))].count(True)
    # in hundredths of a tick: fair share, minus what came, against the deficit
    expected = len(digits) >= window and 10 * len(winning) * window - 100 * seen >= points * window
    assert (decide(parameters, ticks_of(digits)) is not None) == expected
