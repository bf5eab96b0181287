"""Profit over time in a bounded number of points, however long it runs.

Settlements fall into buckets of equal length; when there are too many buckets, neighbours become one. Nothing is
rounded: the sum over all buckets is the sum over all settlements.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

__all__ = ["Bucket", "Point", "ProfitCurve"]

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What settled in one bucket."""

    settled: int = 0
    wins: int = 0
    profit: Decimal = _ZERO

    def plus(self, other: Bucket) -> Bucket:
        return Bucket(self.settled + other.settled, self.wins + other.wins, self.profit + other.profit)


@dataclass(frozen=True, slots=True)
class Point:
    """The profit since the curve's beginning, at the end of a bucket."""

    end_s: int
    profit: Decimal


class ProfitCurve:
    """One bot's (or the fleet's) settlements. ``most_buckets`` bounds it, ``reach_s`` is how far back it goes."""

    def __init__(self, most_buckets: int, reach_s: int) -> None:
        self._most_buckets = most_buckets
        self._reach_s = reach_s
        self._width_s = 1
        self._buckets: dict[int, Bucket] = {}

    @property
    def width_s(self) -> int:
        """The length of a bucket: a power of two seconds."""
        return self._width_s

    @property
    def since_s(self) -> int | None:
        """Where the oldest bucket begins; None while there is none."""
        return min(self._buckets) * self._width_s if self._buckets else None

    def add(self, settled_s: int, profit: Decimal) -> None:
        """One settlement; they may come in any order."""
        number = settled_s // self._width_s
        one = Bucket(1, int(profit > 0), profit)
        if number in self._buckets:
            self._buckets[number] = self._buckets[number].plus(one)
            return
        self._buckets[number] = one
        while max(self._buckets) - min(self._buckets) >= self._most_buckets:
            self._coarsen()

    def drop_before(self, now_s: float) -> None:
        """Let go of buckets that ended longer ago than the reach."""
        limit_s = now_s - self._reach_s
        for number in [number for number in self._buckets if (number + 1) * self._width_s <= limit_s]:
            del self._buckets[number]

    def total(self) -> Bucket:
        """Everything within reach."""
        total = Bucket()
        for bucket in self._buckets.values():
            total = total.plus(bucket)
        return total

    def points(self) -> list[Point]:
        """The running sum, oldest first, one point a bucket in which something settled."""
        profit = _ZERO
        points: list[Point] = []
        for number in sorted(self._buckets):
            profit += self._buckets[number].profit
            points.append(Point((number + 1) * self._width_s, profit))
        return points

    def _coarsen(self) -> None:
        merged: dict[int, Bucket] = {}
        for number, bucket in self._buckets.items():
            merged[number // 2] = merged.get(number // 2, Bucket()).plus(bucket)
        self._buckets = merged
        self._width_s *= 2
