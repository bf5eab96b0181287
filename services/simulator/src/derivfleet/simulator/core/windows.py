"""Counting windows of the kinds that a server may use, and several linked ones that admit or refuse together."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LinkedWindows", "Window", "WindowKind"]

_NS_PER_S = 1_000_000_000


class WindowKind(StrEnum):
    """How a window's time is cut."""

    FIXED_FROM_FIRST_HIT = "fixed_from_first_hit"
    """It starts with the first hit and ends its span later; the next hit starts another."""
    FIXED_ALIGNED = "fixed_aligned"
    """It starts at multiples of its span since 1970."""
    SLIDING = "sliding"
    """It is always the last span: a hit counts until exactly its span has passed."""


@dataclass(slots=True)
class Window:
    """Hits within one span of time."""

    kind: WindowKind
    span_ns: int
    most: int
    _start_ns: int | None = None
    _count: int = 0
    _times_ns: deque[int] = field(default_factory=deque[int])

    def hits(self, now_ns: int) -> int:
        """How many hits count now."""
        match self.kind:
            case WindowKind.SLIDING:
                while self._times_ns and self._times_ns[0] <= now_ns - self.span_ns:
                    self._times_ns.popleft()
                return len(self._times_ns)
            case WindowKind.FIXED_ALIGNED:
                ended = self._start_ns is not None and now_ns // self.span_ns != self._start_ns // self.span_ns
            case WindowKind.FIXED_FROM_FIRST_HIT:
                ended = self._start_ns is not None and now_ns >= self._start_ns + self.span_ns
        if ended:
            self._start_ns, self._count = None, 0
        return self._count

    def has_room(self, now_ns: int) -> bool:
        """Whether one more hit is admitted now."""
        return self.hits(now_ns) < self.most

    def hit(self, now_ns: int) -> None:
        """Count one."""
        self.hits(now_ns)
        if self.kind is WindowKind.SLIDING:
            self._times_ns.append(now_ns)
            return
        if self._start_ns is None:
            self._start_ns = now_ns
        self._count += 1


class LinkedWindows:
    """Windows of several spans that one call must all pass."""

    def __init__(self, kind: WindowKind, windows: Mapping[int, int], *, count_refused: bool) -> None:
        """``windows`` says how many calls each span, in seconds, admits."""
        self._windows = [Window(kind, span_s * _NS_PER_S, most) for span_s, most in windows.items()]
        self._count_refused = count_refused

    def admit(self, now_ns: int) -> bool:
        """Count a call and say whether it is admitted. A refused one counts in all windows, or in none."""
        admitted = all(window.has_room(now_ns) for window in self._windows)
        if admitted or self._count_refused:
            for window in self._windows:
                window.hit(now_ns)
        return admitted
