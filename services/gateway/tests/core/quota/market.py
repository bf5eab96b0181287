"""A market for the quota's tests, in virtual time: bots that ask, a network, and a server that counts in its own way.

Nothing here is taken from the gateway but the quota itself.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Protocol

from derivfleet.deriv.limits import OPTIONS_LIMITS, LimitsTable
from derivfleet.gateway.core.quota import Permit, PermitState, Quota

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.quota import Rank

__all__ = ["SERVER_KINDS", "Asked", "Limiter", "Market", "percentile"]

S = 10**9
START_NS = 1_795_161_600 * S


class Window(Protocol):
    """How a server may count one window of one bucket. Times are its own, in nanoseconds."""

    def full(self, now_ns: int) -> bool:
        """Whether one more call would be one too many."""
        ...

    def hit(self, now_ns: int) -> None:
        """Count a call."""
        ...


class FromFirstHit:
    """A counter that begins with the first call and is thrown away when the window is over."""

    def __init__(self, limit: int, length_ns: int) -> None:
        self._limit, self._length_ns = limit, length_ns
        self._begun_ns, self._calls = -length_ns, 0

    def full(self, now_ns: int) -> bool:
        if now_ns >= self._begun_ns + self._length_ns:
            self._begun_ns, self._calls = now_ns, 0
        return self._calls >= self._limit

    def hit(self, now_ns: int) -> None:
        del now_ns
        self._calls += 1


class Calendar:
    """A counter for each minute and hour of the clock."""

    def __init__(self, limit: int, length_ns: int) -> None:
        self._limit, self._length_ns = limit, length_ns
        self._number, self._calls = -1, 0

    def full(self, now_ns: int) -> bool:
        if now_ns // self._length_ns != self._number:
            self._number, self._calls = now_ns // self._length_ns, 0
        return self._calls >= self._limit

    def hit(self, now_ns: int) -> None:
        del now_ns
        self._calls += 1


class Slots:
    """A ring of short counters; those that reach into the window count with all their calls.

    ``more`` slots beyond the window count too: with none the window is a little too short, with one a little too long.
    """

    def __init__(self, limit: int, length_ns: int, slots: int, more: int) -> None:
        self._limit, self._slot_ns, self._kept = limit, length_ns // slots, slots + more
        self._calls: deque[int] = deque()
        """The slot of each call."""

    def full(self, now_ns: int) -> bool:
        while self._calls and self._calls[0] <= now_ns // self._slot_ns - self._kept:
            self._calls.popleft()
        return len(self._calls) >= self._limit

    def hit(self, now_ns: int) -> None:
        self._calls.append(now_ns // self._slot_ns)


class Weighted:
    """The calendar's counter, with the one before for the part of it that the last window's length still covers."""

    def __init__(self, limit: int, length_ns: int) -> None:
        self._limit, self._length_ns = limit, length_ns
        self._number, self._before, self._calls = -1, 0, 0

    def full(self, now_ns: int) -> bool:
        number, into_ns = divmod(now_ns, self._length_ns)
        if number != self._number:
            self._before = self._calls if number == self._number + 1 else 0
            self._number, self._calls = number, 0
        return self._before * (1 - into_ns / self._length_ns) + self._calls >= self._limit

    def hit(self, now_ns: int) -> None:
        del now_ns
        self._calls += 1


class Tokens:
    """A token bucket that holds a part of the limit and is filled at the limit's rate."""

    def __init__(self, limit: int, length_ns: int, part: float) -> None:
        self._depth, self._rate = limit * part, limit / length_ns
        self._tokens, self._seen_ns = self._depth, START_NS

    def full(self, now_ns: int) -> bool:
        self._tokens = min(self._depth, self._tokens + (now_ns - self._seen_ns) * self._rate)
        self._seen_ns = now_ns
        return self._tokens < 1 - 1e-9

    def hit(self, now_ns: int) -> None:
        del now_ns
        self._tokens -= 1


SERVER_KINDS: Mapping[str, Callable[[int, int], Window]] = {
    "from the first hit": FromFirstHit,
    "calendar": Calendar,
    "sliding log": lambda limit, length_ns: Slots(limit, length_ns, length_ns, 0),
    "six slots, the oldest forgotten": lambda limit, length_ns: Slots(limit, length_ns, 6, 0),
    "whole token bucket": lambda limit, length_ns: Tokens(limit, length_ns, 1.0),
    "sixty slots, the oldest whole": lambda limit, length_ns: Slots(limit, length_ns, 60, 1),
    "six slots, the oldest whole": lambda limit, length_ns: Slots(limit, length_ns, 6, 1),
    "weighted with the one before": Weighted,
    "half a token bucket": lambda limit, length_ns: Tokens(limit, length_ns, 0.5),
}
"""Kinds of window that servers are known to use. Deriv does not say which is its own."""


class Limiter:
    """A server's windows of every bucket. A refused call counts too, which is the harder case."""

    def __init__(self, table: LimitsTable, kind: str) -> None:
        make = SERVER_KINDS[kind]
        self._windows = {
            name: [make(limit, window_s * S) for window_s, limit in bucket.windows.items()]
            for name, bucket in table.buckets.items()
        }

    def admit(self, bucket: str, now_ns: int) -> bool:
        windows = self._windows[bucket]
        full = [window.full(now_ns) for window in windows]
        for window in windows:
            window.hit(now_ns)
        return not any(full)


@dataclass(eq=False, slots=True)
class Asked:
    """One call that was asked for, and what became of it."""

    bot: str
    call: Call
    asked_ns: int
    sent_ns: int | None = None
    admitted: bool = False

    @property
    def wait_s(self) -> float:
        """From asking to sending; without end if it was not sent."""
        return float("inf") if self.sent_ns is None else (self.sent_ns - self.asked_ns) / S


@dataclass
class Market:
    """A quota among bots; each way takes 20 to 120 ms. ``server`` says no, if there is one."""

    bots: Iterable[str]
    table: LimitsTable = OPTIONS_LIMITS
    kind: str = "from the first hit"
    headroom: float = 1.0
    seed: int = 0
    now_ns: int = START_NS
    calls: list[Asked] = field(default_factory=list[Asked])

    def __post_init__(self) -> None:
        self.plan = Quota(self.table, self.headroom, dict.fromkeys(self.bots, 1.0))
        self.server = Limiter(self.table, self.kind)
        self.random = Random(self.seed)  # noqa: S311 - delays and demand, not secrets
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._ordinal = 0
        self._open: dict[Permit, tuple[Asked, Callable[[], None] | None]] = {}
        self.under_way: set[Permit] = set()

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something so many seconds from now."""
        self._ordinal += 1
        heapq.heappush(self._events, (self.now_ns + round(seconds * S), self._ordinal, do))

    def ask(self, bot: str, call: Call, then: Callable[[], None] | None = None, rank: Rank | None = None) -> None:
        """Ask for a call; ``then`` happens when it has been answered, or at once if its queue is full."""
        permit = self.plan.ask(bot, call, self.now_ns, rank=rank)
        asked = Asked(bot, call, self.now_ns)
        self.calls.append(asked)
        if isinstance(permit, Permit):
            self._open[permit] = (asked, then)
        elif then is not None:
            self.at(1.0, then)

    def again_and_again(self, bot: str, call: Call) -> None:
        """A bot that asks anew as soon as it has its answer."""
        self.ask(bot, call, lambda: self.again_and_again(bot, call))

    def give_up(self, bot: str) -> None:
        """A bot wants none of the calls any more that it waits for."""
        for permit in [permit for permit in self._open if permit.bot == bot]:
            self.plan.cancel(permit)
            if permit.state is PermitState.CANCELLED:
                del self._open[permit]

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end_ns = self.now_ns + round(seconds * S)
        while True:
            while granted := self.plan.dispatch(self.now_ns):
                for permit in granted:
                    self._send(permit)
            wake_ns = self.plan.wake_ns(self.now_ns)
            next_ns = min(
                self._events[0][0] if self._events else end_ns, end_ns if wake_ns is None else wake_ns, end_ns
            )
            self.now_ns = max(self.now_ns, next_ns)
            if self.now_ns >= end_ns:
                return
            while self._events and self._events[0][0] <= self.now_ns:
                heapq.heappop(self._events)[2]()

    def cut(self) -> None:
        """All sockets die: what is under way is lost."""
        for permit in self.under_way:
            self.plan.lost(permit, self.now_ns)
        self.under_way.clear()

    def since(self, seconds: float) -> list[Asked]:
        """Calls that were asked for in the last so many seconds."""
        return [asked for asked in self.calls if asked.asked_ns >= self.now_ns - round(seconds * S)]

    def _send(self, permit: Permit) -> None:
        asked, then = self._open.pop(permit)
        assert permit.state is PermitState.GRANTED
        asked.sent_ns = self.now_ns
        self.under_way.add(permit)
        self.at(self.random.uniform(0.02, 0.12), lambda: self._arrive(permit, asked, then))

    def _arrive(self, permit: Permit, asked: Asked, then: Callable[[], None] | None) -> None:
        asked.admitted = not permit.bucket or self.server.admit(permit.bucket, self.now_ns)
        self.at(self.random.uniform(0.02, 0.12), lambda: self._answer(permit, asked, then))

    def _answer(self, permit: Permit, asked: Asked, then: Callable[[], None] | None) -> None:
        if permit not in self.under_way:
            return  # its socket has died
        self.under_way.remove(permit)
        self.plan.landed(permit, self.now_ns)
        if not asked.admitted:
            self.plan.refused_by_deriv(asked.call, self.now_ns)
        if then is not None:
            then()


def percentile(values: Iterable[float], part: float) -> float:
    """The value below which such a part of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
