"""Whether something grows: a slope that a few outliers cannot bend, and how sure it is. Pure.

The slope is that of Theil and Sen: the median of the slopes between all pairs of points. Its interval is Sen's (1968):
the ranks of the pairs' slopes that Kendall's S would exceed by chance. Neighbouring samples of a process resemble each
other, so the run is first cut into as many equal parts as there are ``POINTS``, each counting as its median.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, sqrt
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["POINTS", "Trend", "trend_of"]

POINTS = 60
Z = 2.576
"""99 % of a normal distribution, both sides."""
FEWEST = 8


@dataclass(frozen=True, slots=True)
class Trend:
    """How a series went, in its own unit."""

    first: float
    """The median of its first tenth."""
    last: float
    most: float
    growth: float
    """Slope times the length of the series."""
    growth_low: float
    growth_high: float
    """Between these lies the growth with 99 % certainty."""
    samples: int

    def is_leak(self, share: float, least: float) -> bool:
        """Whether it surely grew, by more than a share of what it was at first, and by more than so much."""
        return self.growth_low > 0 and self.growth > max(share * self.first, least)


def trend_of(times: Sequence[float], values: Sequence[float]) -> Trend:
    """The trend of values at rising times. Of fewer than eight nothing is claimed: their interval is infinite."""
    if not values:
        return Trend(0.0, 0.0, 0.0, 0.0, float("-inf"), float("inf"), 0)
    tenth = max(1, len(values) // 10)
    first, last, most = median(values[:tenth]), median(values[-tenth:]), max(values)
    points = _thinned(times, values)
    if len(points) < FEWEST:
        return Trend(first, last, most, last - first, float("-inf"), float("inf"), len(values))
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, earlier in enumerate(points)
        for later in points[index + 1 :]
    )
    n, pairs, length = len(points), len(slopes), points[-1][0] - points[0][0]
    apart = Z * sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = slopes[max(0, floor((pairs - apart) / 2))]
    high = slopes[min(pairs - 1, floor((pairs + apart) / 2))]
    return Trend(first, last, most, median(slopes) * length, low * length, high * length, len(values))


def _thinned(times: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    """(time, value) of each part: the median of both."""
    size = max(1.0, len(values) / POINTS)
    found: list[tuple[float, float]] = []
    start = 0.0
    while round(start) < len(values):
        part = slice(round(start), max(round(start) + 1, round(start + size)))
        found.append((median(times[part]), median(values[part])))
        start += size
    return found
