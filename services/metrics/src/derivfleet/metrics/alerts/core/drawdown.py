"""How far the profit of a window has fallen from its highest point in the window."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

__all__ = ["Drawdown"]

_ZERO = Decimal(0)


class Drawdown:
    """One bot's (or the fleet's) realised profit over a sliding window; exact, in the order in which it became known.

    Only heights that may still be the highest are kept: a rising curve costs one entry, a falling one an entry a
    settlement.
    """

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._now = _ZERO
        self._heights: deque[tuple[int, Decimal]] = deque()
        self._newest_ns = 0

    def add(self, settled_ns: int, profit: Decimal) -> None:
        """One settlement. The height that it ends was there until now, so it counts from now on."""
        self._newest_ns = max(self._newest_ns, settled_ns)
        while self._heights and self._heights[-1][1] <= self._now:
            self._heights.pop()
        self._heights.append((self._newest_ns, self._now))
        self._now += profit

    def depth(self, now_ns: int) -> Decimal:
        """Highest height of the window minus the present one, in the account's currency; never negative."""
        while self._heights and self._heights[0][0] <= now_ns - self._window_ns:
            self._heights.popleft()
        return max(_ZERO, self._heights[0][1] - self._now) if self._heights else _ZERO
