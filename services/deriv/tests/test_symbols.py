"""The table of symbols is that of the wire reference."""

from __future__ import annotations

import pytest

from derivfleet.deriv.symbols import SYMBOLS


@pytest.mark.parametrize(
    ("name", "spacing_s", "decimals", "per_tick"),
    [
        ("R_10", 2, 3, 2.51832e-5),
        ("R_25", 2, 3, 6.29581e-5),
        ("R_50", 2, 4, 1.25916e-4),
        ("R_75", 2, 4, 1.88874e-4),
        ("R_100", 2, 2, 2.51832e-4),
        ("1HZ10V", 1, 2, 1.780724e-5),
        ("1HZ100V", 1, 2, 1.780724e-4),
        ("1HZ90V", 1, 3, 0.9 * 1.780724e-4),
    ],
)
def test_grid_decimals_and_volatility(name: str, spacing_s: int, decimals: int, per_tick: float) -> None:
    symbol = SYMBOLS[name]
    assert (symbol.tick_spacing_s, symbol.decimals) == (spacing_s, decimals)
    assert symbol.sigma_per_tick == pytest.approx(per_tick, rel=1e-5)
    assert str(symbol.pip) == f"{10**-decimals:.{decimals}f}"
    assert symbol.base_price == symbol.base_price.quantize(symbol.pip)


def test_ticks_lie_on_a_grid() -> None:
    slow, fast = SYMBOLS["R_10"], SYMBOLS["1HZ10V"]
    assert (slow.tick_epoch(7), slow.next_tick_epoch(7), slow.next_tick_epoch(8)) == (6, 8, 10)
    assert (fast.tick_epoch(7), fast.next_tick_epoch(7)) == (7, 8)


def test_a_tick_moves_many_pips_so_that_digits_are_even_handed() -> None:
    for symbol in SYMBOLS.values():
        assert float(symbol.base_price) * symbol.sigma_per_tick > 12 * float(symbol.pip), symbol.name
