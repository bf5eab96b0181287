"""A program's own call limit: so many calls in any minute."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock

__all__ = ["RateLimit"]

WINDOW_NS = 60 * 10**9


class RateLimit:
    """At most ``calls`` in any span of a minute. Times are fleet time."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._taken_ns: deque[int] = deque()

    def wait_ns(self, now_ns: int) -> int:
        """How long until one more call is allowed; 0 if it is now."""
        while self._taken_ns and self._taken_ns[0] <= now_ns - WINDOW_NS:
            self._taken_ns.popleft()
        return 0 if len(self._taken_ns) < self._calls else self._taken_ns[0] + WINDOW_NS - now_ns

    def take(self, now_ns: int) -> None:
        """Count a call. Raises ValueError if none is allowed now."""
        if self.wait_ns(now_ns) > 0:
            raise ValueError("the allowance is used up")
        self._taken_ns.append(now_ns)

    async def turn(self, clock: Clock) -> None:
        """Wait until a call is allowed, and count it."""
        while (wait_ns := self.wait_ns(clock.now_ns())) > 0:
            await clock.sleep(wait_ns / 1e9)
        self.take(clock.now_ns())
