"""Candles say what their ticks say."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.deriv.candles import Candle, candle_at, candles_of
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.ticks import (
    BLOCK_TICKS,
    _market,  # pyright: ignore[reportPrivateUsage] - where a symbol's blocks begin
    log_extremes,
    log_path,
    quotes,
)


def test_open_high_low_close() -> None:
    found = candles_of([(58, Decimal(5)), (60, Decimal(3)), (61, Decimal(9)), (62, Decimal(1)), (119, Decimal(4))], 60)
    assert found == [
        Candle(0, Decimal(5), Decimal(5), Decimal(5), Decimal(5)),
        Candle(60, Decimal(3), Decimal(9), Decimal(1), Decimal(4)),
    ]


def test_a_span_without_a_tick_has_no_candle() -> None:
    assert [candle.epoch_s for candle in candles_of([(0, Decimal(1)), (180, Decimal(2))], 60)] == [0, 180]


@given(
    start_s=st.integers(1_795_000_000, 1_795_100_000),
    span_s=st.integers(1, 400),
    granularity_s=st.sampled_from([60, 120]),
)
def test_candles_agree_with_a_look_at_all_ticks(start_s: int, span_s: int, granularity_s: int) -> None:
    ticks = quotes("1", "R_50", start_s, start_s + span_s)
    for candle in candles_of(ticks, granularity_s):
        inside = [quote for epoch, quote in ticks if epoch // granularity_s * granularity_s == candle.epoch_s]
        assert candle == Candle(candle.epoch_s, inside[0], max(inside), min(inside), inside[-1])


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(["R_100", "1HZ10V"]),
    day=st.integers(20_000, 21_000),
    hour=st.integers(0, 5),
    span_s=st.integers(0, 7200),
)
def test_a_candle_that_was_searched_for_is_the_one_that_all_ticks_make(
    name: str, day: int, hour: int, span_s: int
) -> None:
    start_s = day * 86_400 + hour * 14_400
    found = candle_at("1", name, 14_400, start_s, start_s + span_s)
    assert [found] == candles_of(quotes("1", name, start_s, start_s + span_s), 14_400)


def test_a_candle_ends_with_its_span() -> None:
    start_s = 1_795_161_600
    whole = candle_at("1", "R_50", 3600, start_s, start_s + 100_000)
    assert [whole] == candles_of(quotes("1", "R_50", start_s, start_s + 3599), 3600)


def test_extremes_are_found_across_the_edge_of_a_block() -> None:
    symbol = SYMBOLS["1HZ100V"]
    _, shift = _market("1", symbol.name)
    edge = 100 * BLOCK_TICKS - shift
    values = [value for _, value in log_path("1", symbol, edge - 3000, edge + 2000)]
    assert log_extremes("1", symbol, edge - 3000, edge + 2000) == (min(values), max(values))
