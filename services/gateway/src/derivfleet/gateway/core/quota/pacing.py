"""The pace at which a window may be spent so that it does not run dry before its old calls return."""

from __future__ import annotations

from bisect import bisect_right
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derivfleet.gateway.core.quota.call_log import CallLog

__all__ = ["Pace"]


class Pace:
    """Tokens that come at the steepest rate that one window can bear until each of its calls has returned.

    With nothing to return that is the window's limit over its length; after a burst it is what the burst has left,
    until it returns. Unused tokens are kept up to ``depth``: who was idle may burst.
    """

    __slots__ = (
        "_depth",
        "_ease",
        "_every_ns",
        "_log",
        "_next_ns",
        "_rate_per_ns",
        "_seen_ns",
        "_spans_ns",
        "_window",
        "tokens",
    )

    def __init__(
        self, log: CallLog, window: int, depth: float, every_ns: int, shortest_ns: int, ease: float, step: float
    ) -> None:
        """``window``: number of the window in its log; ``every_ns``: how often the rate is set anew, looking
        ``shortest_ns`` ahead at least and then ``step`` times as far again and again; ``ease``: by how much it may be
        exceeded.
        """
        self._log = log
        self._window = window
        self._spans_ns: list[int] = []
        while shortest_ns < log.lengths_ns[window]:
            self._spans_ns.append(shortest_ns)
            shortest_ns = ceil(shortest_ns * step)
        self._depth = depth
        self._every_ns = every_ns
        self._ease = ease
        self._rate_per_ns = 0.0
        self._seen_ns: int | None = None
        self._next_ns = 0
        self.tokens = depth

    def resize(self, depth: float) -> None:
        """The window's limit has changed."""
        self._depth = depth
        self.tokens = min(self.tokens, depth)
        self._next_ns = 0

    def ready_ns(self, room: int, tokens: float, now_ns: int) -> int:
        """When there will be so many tokens. ``room``: calls that the window may hold, without its reserve."""
        if self._seen_ns is None:
            self._seen_ns = now_ns
        have = self.tokens
        if have < self._depth:
            have += (now_ns - self._seen_ns) * self._rate_per_ns
            have = min(have, self._depth)
            self.tokens = have
        self._seen_ns = now_ns
        if now_ns >= self._next_ns:
            self._rate_per_ns = self._bearable(room, now_ns)
            self._next_ns = now_ns + self._every_ns
        if have >= tokens:
            return now_ns
        if self._rate_per_ns <= 0:
            return self._next_ns
        ready_ns = now_ns + int((tokens - have) / self._rate_per_ns) + 1
        # What is that near is not looked at again only because the rate is to be set anew.
        return ready_ns if ready_ns < now_ns + self._every_ns else max(self._next_ns, now_ns + 1)

    def wait_ns(self, calls: int) -> int:
        """How long so many tokens take at the present rate; 0 if it is not known yet."""
        return max(0, round((calls - self.tokens) / self._rate_per_ns)) if self._rate_per_ns > 0 else 0

    def _bearable(self, room: int, now_ns: int) -> float:
        log, length_ns = self._log, self._log.lengths_ns[self._window]
        log.head(self._window, now_ns)
        landed = log.landed
        # One more, for the next may start when the first of them returns.
        left = room - log.in_flight - len(landed) + 1
        rate, edge_ns, index = room / length_ns, now_ns - length_ns, 0
        for span_ns in self._spans_ns:
            index = bisect_right(landed, edge_ns + span_ns, index)
            if left + index < rate * span_ns:
                rate = (left + index) / span_ns
        return max(0.0, rate) * self._ease
