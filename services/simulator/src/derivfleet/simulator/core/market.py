"""The markets of one seed, a piece at a time and kept: only what somebody asks for is ever computed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from derivfleet.deriv.candles import Candle, candle_at
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.symbols import SYMBOLS, Symbol
from derivfleet.deriv.ticks import Tick, quotes

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["Market", "symbol_named"]

_PIECE_TICKS = 64
_PIECES_KEPT = 4096
_CANDLES_KEPT = 20_000


def symbol_named(name: str) -> Symbol:
    """A symbol's definition. Raises RequestRefused (InvalidSymbol) if there is none."""
    symbol = SYMBOLS.get(name)
    if symbol is None:
        raise RequestRefused("InvalidSymbol", f"Symbol {name} is invalid.", {"field": "symbol"})
    return symbol


class Market:
    """Ticks and candles. Every tick can be told in advance; it is the caller who keeps the future to itself."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._closed = functools.lru_cache(_CANDLES_KEPT)(self._compute_closed)
        self._piece = functools.lru_cache(_PIECES_KEPT)(self._compute)

    def _compute(self, symbol: str, piece: int) -> list[tuple[int, Decimal]]:
        span_s = _PIECE_TICKS * SYMBOLS[symbol].tick_spacing_s
        return quotes(self._seed, symbol, piece * span_s, (piece + 1) * span_s - 1)

    def quote(self, symbol: str, epoch_s: int) -> Decimal:
        """The quote in force at a second."""
        return self.tick(symbol, epoch_s).quote

    def tick(self, symbol: str, epoch_s: int) -> Tick:
        """The last tick at or before a second."""
        definition = SYMBOLS[symbol]
        spacing_s = definition.tick_spacing_s
        piece, place = divmod(epoch_s // spacing_s, _PIECE_TICKS)
        epoch, quote = self._piece(symbol, piece)[place]
        return Tick(symbol, epoch, quote, definition.decimals)

    def quotes(self, symbol: str, start_s: int, end_s: int) -> list[tuple[int, Decimal]]:
        """(epoch, quote) of all ticks from one second to another, both included."""
        span_s = _PIECE_TICKS * SYMBOLS[symbol].tick_spacing_s
        return [
            pair
            for piece in range(start_s // span_s, end_s // span_s + 1)
            for pair in self._piece(symbol, piece)
            if start_s <= pair[0] <= end_s
        ]

    def candle(self, symbol: str, granularity_s: int, start_s: int, now_s: int) -> Candle:
        """The candle that begins at a second, as it stands now."""
        if start_s + granularity_s <= now_s:
            return self._closed(symbol, granularity_s, start_s)
        return candle_at(self._seed, symbol, granularity_s, start_s, now_s)

    def _compute_closed(self, symbol: str, granularity_s: int, start_s: int) -> Candle:
        return candle_at(self._seed, symbol, granularity_s, start_s, start_s + granularity_s)
