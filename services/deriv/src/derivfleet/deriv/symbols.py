"""The synthetic indices that never sleep: their volatility, tick grid and decimals.

Volatility is in each index's name; grid and decimals agree in several third-party tables and with captured ticks of
R_10 and R_100. On a live connection the wire's own ``pip_size`` wins over this table, and the list of symbols on offer
is the wire's too.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

__all__ = ["SECONDS_PER_YEAR", "SYMBOLS", "Symbol"]

SECONDS_PER_YEAR = 31_536_000
"""365 days: captured payouts and accumulator barriers fit only this year."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """One index."""

    name: str
    display_name: str
    sigma: float
    """Volatility of the logarithm over a year, as a fraction: 0.1 for the index called 10."""
    tick_spacing_s: int
    decimals: int
    base_price: Decimal
    """Where the simulated market is anchored. Our choice: high enough that a tick moves many pips, so that last digits
    are even-handed, as they are on the real index."""

    @property
    def pip(self) -> Decimal:
        """The smallest move."""
        return Decimal(1).scaleb(-self.decimals)

    @property
    def half_spread(self) -> Decimal:
        """Bid and ask are the quote minus and plus this. Seen on R_10 and 1HZ100V, assumed elsewhere; no contract
        uses it.
        """
        return Decimal("0.1")

    @property
    def sigma_per_tick(self) -> float:
        """Volatility of the logarithm from one tick to the next."""
        return self.sigma * (self.tick_spacing_s / SECONDS_PER_YEAR) ** 0.5

    def tick_epoch(self, epoch_s: int) -> int:
        """Epoch of the tick that is in force at a second: the last one at or before it."""
        return epoch_s - epoch_s % self.tick_spacing_s

    def next_tick_epoch(self, epoch_s: int) -> int:
        """Epoch of the first tick after a second."""
        return self.tick_epoch(epoch_s) + self.tick_spacing_s


def _slow(number: int, decimals: int, base_price: str) -> Symbol:
    return Symbol(f"R_{number}", f"Volatility {number} Index", number / 100, 2, decimals, Decimal(base_price))


def _fast(number: int, decimals: int, base_price: str) -> Symbol:
    name = f"1HZ{number}V"
    return Symbol(name, f"Volatility {number} (1s) Index", number / 100, 1, decimals, Decimal(base_price))


SYMBOLS: dict[str, Symbol] = {
    symbol.name: symbol
    for symbol in (
        _slow(10, 3, "5800.000"),
        _slow(25, 3, "2750.000"),
        _slow(50, 4, "271.0000"),
        _slow(75, 4, "98000.0000"),
        _slow(100, 2, "1185.00"),
        _fast(10, 2, "9800.00"),
        _fast(15, 3, "12500.000"),
        _fast(25, 2, "7200.00"),
        _fast(30, 3, "6100.000"),
        _fast(50, 2, "3100.00"),
        _fast(75, 2, "4200.00"),
        _fast(90, 3, "2600.000"),
        _fast(100, 2, "1500.00"),
    )
}
