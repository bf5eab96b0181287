"""The call limits of all accounts: which bucket a call falls into, and whether it still has room."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from derivfleet.simulator.core.windows import LinkedWindows, WindowKind

if TYPE_CHECKING:
    from derivfleet.deriv.limits import LimitsTable
    from derivfleet.deriv.vocabulary import Call

__all__ = ["CallCounts", "CallLimits"]


@dataclass(slots=True)
class CallCounts:
    """How many calls were let through and how many were refused for their rate, since the start."""

    accepted: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])

    def count(self, name: str, *, admitted: bool) -> None:
        """Note one call."""
        (self.accepted if admitted else self.refused)[name] += 1


class CallLimits:
    """Counters per user key (app and account, or app and address), shared by all sockets of that key."""

    def __init__(self, kind: WindowKind, *, count_refused: bool) -> None:
        self._kind = kind
        self._count_refused = count_refused
        self._windows: dict[tuple[str, str], LinkedWindows] = {}

    def admit(self, table: LimitsTable, key: str, call: Call, now_ns: int) -> bool:
        """Count a call against its bucket. True if it may run."""
        bucket = table.bucket_of(call)
        if bucket is None:
            return True
        place = (key, bucket.name)
        windows = self._windows.get(place)
        if windows is None:
            windows = LinkedWindows(self._kind, bucket.windows, count_refused=self._count_refused)
            self._windows[place] = windows
        return windows.admit(now_ns)
