"""The market that is kept is the market that is computed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.deriv.candles import candles_of
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.ticks import quote_at, quotes
from derivfleet.simulator.core.market import Market, symbol_named

NOW_S = 1_795_161_600
NAMES = st.sampled_from(sorted(SYMBOLS))
MARKET = Market("1")


@given(name=NAMES, start_s=st.integers(NOW_S - 500, NOW_S + 500), span_s=st.integers(0, 400))
def test_ranges(name: str, start_s: int, span_s: int) -> None:
    assert MARKET.quotes(name, start_s, start_s + span_s) == quotes("1", name, start_s, start_s + span_s)


@given(name=NAMES, second=st.integers(NOW_S - 500, NOW_S + 500))
def test_single_ticks(name: str, second: int) -> None:
    tick = MARKET.tick(name, second)
    assert tick.quote == MARKET.quote(name, second) == quote_at("1", name, second)
    assert second - SYMBOLS[name].tick_spacing_s < tick.epoch_s <= second


@given(back=st.integers(0, 5), into_s=st.integers(0, 59))
def test_candles_show_nothing_of_the_future(back: int, into_s: int) -> None:
    start_s = NOW_S - back * 60
    now_s = NOW_S + into_s
    found = MARKET.candle("R_50", 60, start_s, now_s)
    assert [found] == candles_of(quotes("1", "R_50", start_s, min(now_s, start_s + 59)), 60)


def test_an_unknown_symbol_is_refused() -> None:
    with pytest.raises(RequestRefused) as caught:
        symbol_named("R_7")
    assert caught.value.code == "InvalidSymbol"
