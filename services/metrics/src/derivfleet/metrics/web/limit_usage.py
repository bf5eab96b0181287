"""How full the call limits were over time: the highest use of each bucket, in a bounded number of points."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

__all__ = ["LimitUsage", "window_samples"]

_POINTS = 120


def window_samples(
    connection: sqlite3.Connection, account: str, after_ns: int, limit: int
) -> list[tuple[int, dict[str, float]]]:
    """The first status samples after a time: when, and how full each bucket was (1 is all that Deriv allows).

    Of a bucket's linked windows the fullest counts, for it is the one that binds.
    """
    rows = connection.execute(
        "SELECT time_ns, windows FROM status_samples WHERE account = ? AND time_ns > ? ORDER BY time_ns LIMIT ?",
        (account, after_ns, limit),
    )
    return [(time_ns, _fullest(windows)) for time_ns, windows in rows]


def _fullest(windows: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for window in json.loads(windows):
        if window["deriv_limit"]:
            share = window["used"] / window["deriv_limit"]
            found[window["bucket"]] = max(found.get(window["bucket"], 0.0), share)
    return found


class LimitUsage:
    """The highest use in each of at most 120 equal spans of time; when there are more, neighbours become one."""

    def __init__(self, reach_s: int) -> None:
        self._reach_s = reach_s
        self._width_s = 5
        self._slots: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self.seen_to_ns = 0

    def add(self, time_ns: int, shares: Mapping[str, float]) -> None:
        """One sample; later than those before."""
        self.seen_to_ns = time_ns
        slot = time_ns // NS_PER_S // self._width_s
        for bucket, share in shares.items():
            slots = self._slots[bucket]
            slots[slot] = max(slots.get(slot, 0.0), share)
        while self._span() >= _POINTS:
            self._coarsen()

    def drop_before(self, now_s: float) -> None:
        """Let go of what ended longer ago than the reach."""
        limit = (now_s - self._reach_s) // self._width_s
        for slots in self._slots.values():
            for slot in [slot for slot in slots if slot + 1 <= limit]:
                del slots[slot]

    def points(self, now_s: float) -> dict[str, list[list[float]]]:
        """For each bucket that was used, ``[seconds since 1970, share]`` at the end of each span, oldest first."""
        return {
            bucket: [[min((slot + 1) * self._width_s, now_s), round(slots[slot], 4)] for slot in sorted(slots)]
            for bucket, slots in self._slots.items()
            if any(slots.values())
        }

    def _span(self) -> int:
        kept = [slot for slots in self._slots.values() for slot in (min(slots, default=None), max(slots, default=None))]
        known = [slot for slot in kept if slot is not None]
        return max(known) - min(known) if known else 0

    def _coarsen(self) -> None:
        for bucket, slots in self._slots.items():
            merged: dict[int, float] = {}
            for slot, share in slots.items():
                merged[slot // 2] = max(merged.get(slot // 2, 0.0), share)
            self._slots[bucket] = merged
        self._width_s *= 2
