"""The account's call limits: for each bucket of calls, windows that all hold at once.

Deriv publishes how many calls of a bucket a minute and an hour may hold, not what kind of window it counts in. A log of
start times is safe under each kind: if no span of the window's length, wherever it begins, holds more than the limit,
then neither does a fixed window that happens to begin there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derivfleet.deriv.limits import LimitsTable
    from derivfleet.deriv.vocabulary import Call

__all__ = ["CallLimits", "CallLog", "WindowUse", "name_of", "scaled"]

NS_PER_S = 1_000_000_000
PENALTY_NS = 60 * NS_PER_S
"""After a refusal by Deriv the bucket rests for the length of its short window (`rate_limit` errors name no delay)."""

Windows = dict[str, dict[int, int]]
"""bucket → window length in seconds → calls allowed."""


def name_of(table: LimitsTable, call: Call) -> str:
    """The name of a call's bucket; empty if the call is free."""
    bucket = table.bucket_of(call)
    return "" if bucket is None else bucket.name


def scaled(table: LimitsTable, part: float) -> Windows:
    """A part of every limit, rounded down, but never below one call: a limit of 0 would wait for ever."""
    return {
        name: {window_s: max(1, floor(calls * part + 1e-9)) for window_s, calls in bucket.windows.items()}
        for name, bucket in table.buckets.items()
    }


@dataclass(frozen=True, slots=True)
class WindowUse:
    """How full one window is."""

    bucket: str
    window_s: int
    limit: int
    used: int


class CallLog:
    """The starts of calls in one window, past and reserved: no span of ``length_ns`` holds more than ``limit``."""

    def __init__(self, limit: int, length_ns: int) -> None:
        self.limit = limit
        self.length_ns = length_ns
        self._starts: list[int] = []

    def earliest_ns(self, at_ns: int) -> int:
        """The first instant not before ``at_ns`` at which one more call fits."""
        starts, limit, length = self._starts, self.limit, self.length_ns
        while True:
            index = bisect_right(starts, at_ns)
            # A call at `at_ns` is too many if some `limit` neighbours and it lie within one length.
            for first in range(max(0, index - limit), min(index, len(starts) - limit) + 1):
                begin = min(at_ns, starts[first])
                end = max(at_ns, starts[first + limit - 1])
                if end - begin < length:
                    at_ns = starts[first] + length
                    break
            else:
                return at_ns

    def add(self, start_ns: int) -> None:
        insort(self._starts, start_ns)

    def remove(self, start_ns: int) -> None:
        """Give back a call that never started."""
        index = bisect_left(self._starts, start_ns)
        if index < len(self._starts) and self._starts[index] == start_ns:
            del self._starts[index]

    def used(self, now_ns: int) -> int:
        """Calls that started within the last length, or are reserved for later."""
        return len(self._starts) - bisect_right(self._starts, now_ns - self.length_ns)

    def forget(self, now_ns: int) -> None:
        """Drop what no window can see any more."""
        del self._starts[: bisect_right(self._starts, now_ns - self.length_ns)]


class CallLimits:
    """All windows of all buckets of one holder (an account, or a bot's share of one).

    ``margin_s`` is added to every window's length: two calls that leave a full window apart may arrive closer together.
    """

    def __init__(self, table: LimitsTable, windows: Windows, margin_s: float) -> None:
        self._table = table
        self._logs = {
            bucket: {
                window_s: CallLog(limit, round((window_s + margin_s) * NS_PER_S)) for window_s, limit in limits.items()
            }
            for bucket, limits in windows.items()
        }
        self._rests_until_ns: dict[str, int] = {}

    def earliest_ns(self, call: Call, at_ns: int) -> tuple[int, str]:
        """When a call may start, and which window makes it wait (``trade/60s``; empty if none does)."""
        bucket = name_of(self._table, call)
        if not bucket:
            return at_ns, ""
        start_ns, binding = at_ns, ""
        rest_ns = self._rests_until_ns.get(bucket, 0)
        if rest_ns > start_ns:
            start_ns, binding = rest_ns, f"{bucket}/refused"
        moved = True
        while moved:
            moved = False
            for window_s, log in self._logs[bucket].items():
                fitting_ns = log.earliest_ns(start_ns)
                if fitting_ns > start_ns:
                    start_ns, binding, moved = fitting_ns, f"{bucket}/{window_s}s", True
        return start_ns, binding

    def spend(self, call: Call, start_ns: int, now_ns: int) -> None:
        """Count a call in every window of its bucket."""
        for log in self._of(call):
            log.forget(min(now_ns, start_ns))
            log.add(start_ns)

    def give_back(self, call: Call, start_ns: int) -> None:
        """Uncount a reserved call that never started."""
        for log in self._of(call):
            log.remove(start_ns)

    def refused(self, call: Call, now_ns: int) -> None:
        """Deriv refused a call for rate: let its bucket rest."""
        bucket = name_of(self._table, call)
        if bucket:
            self._rests_until_ns[bucket] = now_ns + PENALTY_NS

    def remaining(self, call: Call, now_ns: int) -> int:
        """Calls that could start now; a large number for free calls."""
        logs = self._of(call)
        return min((max(0, log.limit - log.used(now_ns)) for log in logs), default=1_000_000)

    def use(self, now_ns: int) -> list[WindowUse]:
        """How full each window is."""
        return [
            WindowUse(bucket, window_s, log.limit, log.used(now_ns))
            for bucket, logs in self._logs.items()
            for window_s, log in logs.items()
        ]

    def adopt(self, table: LimitsTable, windows: Windows) -> None:
        """Take over limits that the server has told, keeping what was counted."""
        self._table = table
        for bucket, limits in windows.items():
            for window_s, limit in limits.items():
                log = self._logs.get(bucket, {}).get(window_s)
                if log is not None:
                    log.limit = limit

    def _of(self, call: Call) -> list[CallLog]:
        bucket = name_of(self._table, call)
        return list(self._logs[bucket].values()) if bucket else []
