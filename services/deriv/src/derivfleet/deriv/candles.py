"""Candles of the synthetic markets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.ticks import log_extremes, quote_at, quote_of_log, quotes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

__all__ = ["Candle", "candle_at", "candles_of"]

_FEW_TICKS = 600
"""Up to here a look at every tick is faster than a search for the extremes. Measured."""


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices of one span of time. ``epoch_s`` is the span's first second, a multiple of its length."""

    epoch_s: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


def candles_of(quotes: Iterable[tuple[int, Decimal]], granularity_s: int) -> list[Candle]:
    """Candles from (epoch, quote) pairs in order of time. A span without a tick has no candle."""
    found: list[Candle] = []
    for epoch_s, quote in quotes:
        start_s = epoch_s - epoch_s % granularity_s
        if found and found[-1].epoch_s == start_s:
            last = found[-1]
            found[-1] = Candle(start_s, last.open, max(last.high, quote), min(last.low, quote), quote)
        else:
            found.append(Candle(start_s, quote, quote, quote, quote))
    return found


def candle_at(seed: str, symbol: str, granularity_s: int, start_s: int, end_s: int) -> Candle:
    """The candle of a synthetic market that begins at ``start_s`` (a multiple of the granularity, which is a multiple
    of the tick spacing), as it stands at ``end_s`` or at its own end, whichever is earlier.

    The same as :func:`candles_of` over all its ticks, but a day's costs milliseconds.
    """
    definition = SYMBOLS[symbol]
    end_s = min(end_s, start_s + granularity_s - 1)
    spacing_s = definition.tick_spacing_s
    first, last = start_s // spacing_s, end_s // spacing_s
    if last - first < _FEW_TICKS:
        return candles_of(quotes(seed, symbol, start_s, end_s), granularity_s)[0]
    low, high = (quote_of_log(definition, deviation) for deviation in log_extremes(seed, definition, first, last))
    return Candle(start_s, quote_at(seed, symbol, start_s), high, low, quote_at(seed, symbol, end_s))
