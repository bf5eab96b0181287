"""How many REST calls a user has left. Each new socket takes one, and other programs of the user call too."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RestBudget"]

NS_PER_S = 1_000_000_000

REST_PART = 0.5
"""What other programs of the same user call with REST is not seen here, so they get the other half."""


class RestBudget:
    """REST calls of one user, by a sliding log."""

    def __init__(self, windows: Mapping[int, int], part: float = REST_PART) -> None:
        """``windows``: calls by the length of their window in seconds, at least one."""
        self._windows = [(length_s * NS_PER_S, max(1, int(most * part))) for length_s, most in sorted(windows.items())]
        self._calls: deque[int] = deque()
        self._rests_until_ns = 0

    def wait_ns(self, now_ns: int) -> int:
        """How long until another call fits; 0 if it does now."""
        until_ns = self._rests_until_ns
        for length_ns, most in self._windows:
            if len(self._calls) >= most:
                until_ns = max(until_ns, self._calls[-most] + length_ns)
        return max(0, until_ns - now_ns)

    def spend(self, now_ns: int) -> None:
        """A call is made."""
        while self._calls and self._calls[0] + self._windows[-1][0] <= now_ns:
            self._calls.popleft()
        self._calls.append(now_ns)

    def refused(self, now_ns: int) -> None:
        """Deriv counts differently: none for the shortest window."""
        self._rests_until_ns = now_ns + self._windows[0][0]
