"""How long things took, in so few numbers that a day fits into a page, and exact to a stated relative error.

A sketch counts values in bins whose bounds grow by a constant factor (DDSketch: Masson, Rim, Lee, VLDB 2019). Sketches
are plain counts, so they merge by addition, in any order, and five-minute sketches add up to that of the hour exactly.
The published library was looked at: it counts in floats, keeps 128 dense bins for three values, and stores itself
through generated code of another protobuf.
"""

from __future__ import annotations

from math import ceil, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PER_LOG", "RELATIVE_ERROR", "ZERO", "bin_of", "quantile", "value_of"]

RELATIVE_ERROR = 0.01
"""A quantile differs from the true value of its rank by at most this part of it."""
ZERO = -1
"""The bin of what took no time at all."""

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
PER_LOG = 1 / log(_GROWTH)


def bin_of(value: int) -> int:
    """The bin of a whole number, of nanoseconds for example."""
    return ceil(log(value) * PER_LOG) if value > 0 else ZERO


def value_of(number: int) -> float:
    """What a bin's values are near to."""
    return 2 * _GROWTH**number / (_GROWTH + 1) if number != ZERO else 0.0


def quantile(bins: Mapping[int, int], percent: int) -> float:
    """The value that at least ``percent`` of 100 values do not exceed (nearest rank); 0 of an empty sketch."""
    left = max(1, -(-percent * sum(bins.values()) // 100))
    for number in sorted(bins):
        left -= bins[number]
        if left <= 0:
            return value_of(number)
    return 0.0
