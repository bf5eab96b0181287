"""The calls of one holder - an account, a bot, a cap - that some window still counts.

What we do not see is when a call reaches the server: somewhere between its sending and its answer. So a call counts
from its sending until one window after its *answer*, which needs no assumption about the network's delay.
"""

from __future__ import annotations

from bisect import insort
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NEVER_NS", "CallLog"]

NS_PER_S = 1_000_000_000
NEVER_NS = 1 << 62
"""An instant that only an event of its own, as an answer, can bring nearer."""
DRIFT = 2e-4
"""A server's clock may run slower than ours, by this part at most if nobody knows better: windows are longer by it."""
TIDY = 64
"""Calls that no window counts any more are dropped when there are more of them than this, and than of the others."""


class CallLog:
    """The calls of one holder that some window still counts: those in flight, and when the others were answered."""

    __slots__ = ("_heads", "_limbo", "in_flight", "landed", "lengths_ns")

    def __init__(self, windows_s: Sequence[int], drift: float = DRIFT) -> None:
        """``windows_s`` ascends."""
        self.lengths_ns = [ceil(window_s * NS_PER_S / (1 - drift)) for window_s in windows_s]
        self.in_flight = 0
        self.landed: list[int] = []
        """When answers came, ascending. May begin with some that no window counts any more: see :meth:`head`."""
        self._heads = [0] * len(self.lengths_ns)
        self._limbo: list[int] = []

    def start(self) -> None:
        """A call is being sent."""
        self.in_flight += 1

    def unsent(self) -> None:
        """It was not sent after all."""
        self.in_flight -= 1

    def land(self, now_ns: int) -> None:
        """A call was answered: Deriv had counted it by now."""
        if self._limbo:
            self._release(now_ns)
        self.in_flight -= 1
        self._append(now_ns)

    def lose(self, until_ns: int) -> None:
        """The answer to a call will not come; its frame may still arrive until an instant."""
        insort(self._limbo, until_ns)

    def recall(self, landed_ns: int, calls: int, now_ns: int) -> None:
        """Count calls of an earlier run, those that may still be on their way as lost ones."""
        for _ in range(calls):
            if landed_ns > now_ns:
                self.start()
                self.lose(landed_ns)
            else:
                self._append(landed_ns)

    def head(self, window: int, now_ns: int) -> int:
        """Where in ``landed`` the calls begin that a window still counts."""
        if self._limbo:
            self._release(now_ns)
        landed, index = self.landed, self._heads[window]
        length, edge_ns = len(landed), now_ns - self.lengths_ns[window]
        if index == length or landed[index] > edge_ns:
            return index
        while index < length and landed[index] <= edge_ns:
            index += 1
        self._heads[window] = index
        if window == len(self._heads) - 1 and index > TIDY and index * 2 > length:
            del landed[:index]
            # The others may not have been looked at for a while, and then stand before the longest window's.
            self._heads = [max(0, head - index) for head in self._heads]
            return 0
        return index

    def used(self, window: int, now_ns: int) -> int:
        """How many calls a window counts."""
        head = self.head(window, now_ns)
        return self.in_flight + len(self.landed) - head

    def freed_ns(self, window: int, calls: int, now_ns: int) -> int:
        """When so many of the calls that a window counts will count no more; NEVER_NS if that depends on answers."""
        if calls <= 0:
            return now_ns
        index = self.head(window, now_ns) + calls - 1
        return self.landed[index] + self.lengths_ns[window] if index < len(self.landed) else NEVER_NS

    def expected_ns(self) -> int:
        """When the next call whose answer will not come is counted as if it had come; NEVER_NS if there is none."""
        return self._limbo[0] if self._limbo else NEVER_NS

    def suppose_answered(self, now_ns: int) -> int:
        """Count as if every call under way were answered now, which is the soonest; how many these are."""
        self.head(0, now_ns)
        under_way, self.in_flight = self.in_flight, 0
        self.landed.extend([now_ns] * under_way)
        return under_way

    def suppose_no_more(self, under_way: int) -> None:
        """Take back :meth:`suppose_answered`."""
        del self.landed[len(self.landed) - under_way :]
        self.in_flight = under_way

    def _append(self, landed_ns: int) -> None:
        landed = self.landed
        landed.append(landed_ns if not landed or landed_ns >= landed[-1] else landed[-1])
        if len(landed) % TIDY == 0:
            self.head(len(self._heads) - 1, landed_ns)  # nobody may ask, as for a bot without a share of its own

    def _release(self, now_ns: int) -> None:
        limbo = self._limbo
        while limbo and limbo[0] <= now_ns:
            self.in_flight -= 1
            self._append(limbo.pop(0))
