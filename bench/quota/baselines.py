"""The designs that are found elsewhere, each for one bucket and set up as well as it can be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.quota.world import NS_PER_S
from derivfleet.gateway.core.quota import Rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from derivfleet.deriv.limits import Bucket
    from derivfleet.deriv.vocabulary import Call

__all__ = ["BaselinePermit", "FirstComeFirstServed", "Gcra", "GlobalLock", "PerBotLimits", "TokenBucket"]

REST_NS = 60 * NS_PER_S
"""After a refusal nothing is sent for the length of the short window: the error names no delay."""
MARGIN_NS = NS_PER_S
"""Added to a window by those who count from the sending: calls that leave a window apart may arrive closer together."""
SOCKETS = 4


@dataclass(slots=True, eq=False)
class BaselinePermit:
    """A call that waits or has been sent."""

    bot: str
    call: Call
    rank: Rank
    asked_ns: int


class FirstComeFirstServed(ABC):
    """One queue for all. Nobody goes first, not even who wants to get out."""

    def __init__(self) -> None:
        self._queue: deque[BaselinePermit] = deque()
        self._rests_until_ns = 0

    @abstractmethod
    def ready_ns(self, now_ns: int) -> int | None:
        """When the next call may be sent; None if that depends on an answer."""

    @abstractmethod
    def spend(self, now_ns: int) -> None:
        """One is sent."""

    def ask(
        self, bot: str, call: Call, now_ns: int, deadline_ns: int | None = None, rank: Rank | None = None
    ) -> BaselinePermit:
        del deadline_ns
        permit = BaselinePermit(bot, call, Rank.BUY if rank is None else rank, now_ns)
        self._queue.append(permit)
        return permit

    def dispatch(self, now_ns: int) -> list[BaselinePermit]:
        granted: list[BaselinePermit] = []
        while (wake_ns := self.wake_ns(now_ns)) is not None and wake_ns <= now_ns:
            self.spend(now_ns)
            granted.append(self._queue.popleft())
        return granted

    def wake_ns(self, now_ns: int) -> int | None:
        ready_ns = self.ready_ns(now_ns) if self._queue else None
        return None if ready_ns is None else max(ready_ns, self._rests_until_ns)

    def landed(self, permit: BaselinePermit, now_ns: int) -> None:
        """Most of them do not look at answers."""
        del permit, now_ns

    def refused_by_deriv(self, call: Call, now_ns: int) -> None:
        del call
        self._rests_until_ns = now_ns + REST_NS


class GlobalLock(FirstComeFirstServed):
    """One bot at a time: it calls, waits for the answer, pauses so long that no limit is ever reached, and unlocks."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._pause_ns = max(window_s * NS_PER_S // limit for window_s, limit in bucket.windows.items())
        self._unlocked_ns: int | None = 0

    def ready_ns(self, now_ns: int) -> int | None:
        del now_ns
        return self._unlocked_ns

    def spend(self, now_ns: int) -> None:
        del now_ns
        self._unlocked_ns = None

    def landed(self, permit: BaselinePermit, now_ns: int) -> None:
        del permit
        self._unlocked_ns = now_ns + self._pause_ns


class TokenBucket(FirstComeFirstServed):
    """One bucket, so large and filled so fast that what it can let through in a window is just the window's limit.

    What bursts hold (a tenth of the minute's limit) is therefore missing from what is filled in.
    """

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._size = max(1, min(bucket.windows.values()) // 10)
        self._fill_ns = max(
            (window_s * NS_PER_S + MARGIN_NS) // max(1, limit - self._size)
            for window_s, limit in bucket.windows.items()
        )
        self._full_ns = 0  # when the bucket is full again

    def ready_ns(self, now_ns: int) -> int | None:
        del now_ns
        return self._full_ns - (self._size - 1) * self._fill_ns

    def spend(self, now_ns: int) -> None:
        self._full_ns = max(self._full_ns, now_ns) + self._fill_ns


class Gcra(FirstComeFirstServed):
    """The generic cell rate algorithm as it is commonly set up: for each window its limit, and a burst of as many."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._windows = [
            (window_s * NS_PER_S // limit, window_s * NS_PER_S) for window_s, limit in bucket.windows.items()
        ]
        self._arrivals_ns = [0] * len(self._windows)  # theoretical arrival times

    def ready_ns(self, now_ns: int) -> int | None:
        del now_ns
        return max(
            arrival_ns - (length_ns - step_ns)
            for arrival_ns, (step_ns, length_ns) in zip(self._arrivals_ns, self._windows, strict=True)
        )

    def spend(self, now_ns: int) -> None:
        self._arrivals_ns = [
            max(arrival_ns, now_ns) + step_ns
            for arrival_ns, (step_ns, _) in zip(self._arrivals_ns, self._windows, strict=True)
        ]


class _Bot:
    """A bot's own part of every limit, by weight, rounded down, at least one call: a log of what it sent."""

    def __init__(self, bucket: Bucket, part: float) -> None:
        self.queue: deque[BaselinePermit] = deque()
        self._logs = [
            (window_s * NS_PER_S + MARGIN_NS, deque[int](maxlen=max(1, int(limit * part + 1e-9))))
            for window_s, limit in bucket.windows.items()
        ]

    def ready_ns(self) -> int:
        return max((log[0] + length_ns for length_ns, log in self._logs if len(log) == log.maxlen), default=0)

    def spend(self, now_ns: int) -> None:
        for _, log in self._logs:
            log.append(now_ns)


class PerBotLimits:
    """Each bot keeps to its part of the limit by itself. They sit on four sockets, each with one call in flight."""

    def __init__(self, bucket: Bucket, weights: Mapping[str, float]) -> None:
        total = sum(weights.values())
        self._bots = {bot: _Bot(bucket, weight / total) for bot, weight in weights.items()}
        self._socket_of = {bot: number % SOCKETS for number, bot in enumerate(weights)}
        self._sockets = [
            [bot for name, bot in self._bots.items() if self._socket_of[name] == number] for number in range(SOCKETS)
        ]
        self._busy = [False] * SOCKETS
        self._rests_until_ns = 0

    def ask(
        self, bot: str, call: Call, now_ns: int, deadline_ns: int | None = None, rank: Rank | None = None
    ) -> BaselinePermit:
        del deadline_ns
        permit = BaselinePermit(bot, call, Rank.BUY if rank is None else rank, now_ns)
        self._bots[bot].queue.append(permit)
        return permit

    def dispatch(self, now_ns: int) -> list[BaselinePermit]:
        granted: list[BaselinePermit] = []
        for number in range(SOCKETS):
            found = self._first(number)
            if found is not None and found[0] <= now_ns:
                bot = found[1]
                bot.spend(now_ns)
                self._busy[number] = True
                granted.append(bot.queue.popleft())
        return granted

    def wake_ns(self, now_ns: int) -> int | None:
        del now_ns
        return min((found[0] for number in range(SOCKETS) if (found := self._first(number))), default=None)

    def landed(self, permit: BaselinePermit, now_ns: int) -> None:
        del now_ns
        self._busy[self._socket_of[permit.bot]] = False

    def refused_by_deriv(self, call: Call, now_ns: int) -> None:
        del call
        self._rests_until_ns = now_ns + REST_NS

    def _first(self, number: int) -> tuple[int, _Bot] | None:
        """Whose call goes out next on a socket, and when; None if it is busy or nobody waits."""
        if self._busy[number]:
            return None
        waiting = [bot for bot in self._sockets[number] if bot.queue]
        ready = [(max(bot.ready_ns(), bot.queue[0].asked_ns, self._rests_until_ns), bot) for bot in waiting]
        return min(ready, key=lambda found: found[0], default=None)
