"""Synthetic ticks as a pure function of seed, symbol and time.

The logarithm of a price is a Brownian path built top down (Lévy's construction): time is cut into blocks of 2^24 ticks
whose ends are pinned to the symbol's base price, and every midpoint is the mean of its neighbours plus a normal number
that is hashed from seed, symbol and place. So any tick can be asked for on its own, a range costs little more than its
length, both give the same answer, the market has a past before the simulator started and goes on unchanged after a
restart, and prices stay near the base for ever.

Within a block the path is a Brownian bridge. Its increments have the variance of a driftless geometric Brownian motion
with the symbol's sigma; what the bridge adds is a pull towards the block's end of about 1/√n standard deviations per
tick, n ticks before that end: below 1 % up to the last 10,000 ticks of a block that lasts 194 days (1 s) or 388 days
(2 s). The martingale's own drift of -sigma²/2 is a ten-thousandth of a tick's noise and is left out. Neither can be
seen in any sample that a bot could take. Where a block begins differs per symbol.
"""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from derivfleet.deriv.symbols import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from derivfleet.deriv.symbols import Symbol

__all__ = ["Tick", "last_digit", "log_extremes", "log_path", "quote_at", "quote_of_log", "quotes", "ticks"]

BLOCK_LEVELS = 24
BLOCK_TICKS = 1 << BLOCK_LEVELS
_LEVELS_PER_DIGEST = 3
_NORMALS_PER_DIGEST = (1 << _LEVELS_PER_DIGEST) - 1
_WORD_BYTES = 8
_HALF_WORD = 0.5
_WORDS = float(1 << 53)
_UNLIKELY = 17.3
"""Half of -ln(1e-15)."""
_inverse_normal = NormalDist().inv_cdf


@dataclass(frozen=True, slots=True)
class Tick:
    """One price of one symbol."""

    symbol: str
    epoch_s: int
    quote: Decimal
    decimals: int

    @property
    def digit(self) -> int:
        """The last digit at the symbol's decimals, which decides digit contracts."""
        return last_digit(self.quote, self.decimals)


def last_digit(quote: Decimal, decimals: int) -> int:
    """Last digit of a quote at a number of decimals: 1184.9 is 1184.90 at two, so 0.

    Never take it from the number's own text: JSON drops trailing zeros.
    """
    return int(quote.scaleb(decimals).to_integral_value()) % 10


@functools.lru_cache(maxsize=4096)
def _normals(key: bytes, place: int) -> tuple[float, ...]:
    """Seven standard normal numbers that belong to one place in a symbol's path: three levels of midpoints."""
    digest = hashlib.blake2b(place.to_bytes(16, "big", signed=True), key=key, digest_size=56).digest()
    words = (int.from_bytes(digest[i : i + _WORD_BYTES], "big") >> 11 for i in range(0, len(digest), _WORD_BYTES))
    return tuple(_inverse_normal((word + _HALF_WORD) / _WORDS) for word in words)


@functools.lru_cache(maxsize=256)
def _market(seed: str, symbol: str) -> tuple[bytes, int]:
    """The hash key of a symbol's path, and by how many ticks its blocks are shifted."""
    key = hashlib.blake2b(f"{seed}/{symbol}".encode(), digest_size=32).digest()
    return key, int.from_bytes(key[:4], "big") % BLOCK_TICKS


class _Span(NamedTuple):
    """An interval of a block: 2^level ticks from ``left``, with the path's values at both ends.

    A tuple, for a long history makes hundreds of thousands of them.
    """

    left: int
    level: int
    value: float
    right_value: float
    normals: tuple[float, ...] = ()
    node: int = 0
    """Place in the digest's three levels, numbered like a heap from 1; 0 asks for a fresh digest."""

    def halves(self, key: bytes, block: int, sigma_tick: float) -> tuple[_Span, _Span]:
        """Both halves: the midpoint is the mean of the ends plus its own normal number."""
        normals, node = self.normals, self.node
        if not node:
            normals, node = _normals(key, ((block * (BLOCK_LEVELS + 1) + self.level) << BLOCK_LEVELS) + self.left), 1
        half = 1 << (self.level - 1)
        middle = (self.value + self.right_value) / 2 + sigma_tick * math.sqrt(half / 2) * normals[node - 1]
        child = node * 2 if node * 2 < _NORMALS_PER_DIGEST else 0
        return (
            _Span(self.left, self.level - 1, self.value, middle, normals, child),
            _Span(self.left + half, self.level - 1, middle, self.right_value, normals, child and child + 1),
        )


def _walk(key: bytes, block: int, sigma_tick: float, first: int, last: int) -> Iterator[tuple[int, float]]:
    """The path's deviations at ticks first … last of a block (0 ≤ first ≤ last < 2^24), in order.

    Depth first over the tree of midpoints; a subtree outside the range is never entered.
    """
    spans = [_Span(0, BLOCK_LEVELS, 0.0, 0.0)]
    while spans:
        span = spans.pop()
        if span.level == 0:
            yield span.left, span.value
            continue
        early, late = span.halves(key, block, sigma_tick)
        if last >= late.left:
            spans.append(late)
        if first < late.left:
            spans.append(early)


def log_path(seed: str, symbol: Symbol, first_tick: int, last_tick: int) -> Iterator[tuple[int, float]]:
    """Deviations of the logarithm from the base price at tick numbers first … last (number = epoch / spacing)."""
    key, shift = _market(seed, symbol.name)
    sigma_tick = symbol.sigma_per_tick
    while first_tick <= last_tick:
        block, place = divmod(first_tick + shift, BLOCK_TICKS)
        start = block * BLOCK_TICKS - shift
        end = min(last_tick, start + BLOCK_TICKS - 1)
        for tick, value in _walk(key, block, sigma_tick, place, end - start):
            yield start + tick, value
        first_tick = end + 1


def log_extremes(seed: str, symbol: Symbol, first_tick: int, last_tick: int) -> tuple[float, float]:
    """Lowest and highest deviation at tick numbers first … last, without a look at every tick.

    Level by level, halves that cannot hold a new extreme are dropped: a Brownian bridge from a to b over n ticks goes
    beyond m with probability exp(-2 (m-a)(m-b) / (sigma² n)), and what is dropped is less likely than 1e-15.
    """
    key, shift = _market(seed, symbol.name)
    sigma_tick = symbol.sigma_per_tick
    low, high = math.inf, -math.inf
    while first_tick <= last_tick:
        block, first = divmod(first_tick + shift, BLOCK_TICKS)
        end_tick = min(last_tick, first_tick - first + BLOCK_TICKS - 1)
        last = first + end_tick - first_tick
        spans = [_Span(0, BLOCK_LEVELS, 0.0, 0.0)]
        while spans:
            inside = [span.value for span in spans if first <= span.left <= last]
            low, high = min([low, *inside]), max([high, *inside])
            spans = [
                half
                for span in spans
                if span.level and _may_exceed(span, low, high, sigma_tick)
                for half in span.halves(key, block, sigma_tick)
                if half.left <= last and half.left + (1 << half.level) > first
            ]
        first_tick = end_tick + 1
    return low, high


def _may_exceed(span: _Span, low: float, high: float, sigma_tick: float) -> bool:
    a, b = span.value, span.right_value
    if max(a, b) >= high or min(a, b) <= low:
        return True
    reach = _UNLIKELY * sigma_tick * sigma_tick * (1 << span.level)
    return (high - a) * (high - b) < reach or (a - low) * (b - low) < reach


def quote_of_log(symbol: Symbol, deviation: float) -> Decimal:
    """The quote, rounded to the symbol's decimals, at a deviation of the logarithm from the base price."""
    pips = round(float(symbol.base_price) * math.exp(deviation) * 10**symbol.decimals)
    return Decimal(pips).scaleb(-symbol.decimals)


def quote_at(seed: str, symbol: str, epoch_s: int) -> Decimal:
    """The quote in force at a second: that of the last tick at or before it. KeyError if the symbol is unknown."""
    definition = SYMBOLS[symbol]
    number = epoch_s // definition.tick_spacing_s
    (_, deviation), *_ = log_path(seed, definition, number, number)
    return quote_of_log(definition, deviation)


def quotes(seed: str, symbol: str, start_s: int, end_s: int) -> list[tuple[int, Decimal]]:
    """(epoch, quote) of every tick with start_s ≤ epoch ≤ end_s. KeyError if the symbol is unknown."""
    definition = SYMBOLS[symbol]
    spacing = definition.tick_spacing_s
    first, last = -(-start_s // spacing), end_s // spacing
    return [
        (number * spacing, quote_of_log(definition, deviation))
        for number, deviation in log_path(seed, definition, first, last)
    ]


def ticks(seed: str, symbol: str, start_s: int, end_s: int) -> list[Tick]:
    """The same as :func:`quotes`, as ticks."""
    decimals = SYMBOLS[symbol].decimals
    return [Tick(symbol, epoch, quote, decimals) for epoch, quote in quotes(seed, symbol, start_s, end_s)]
