"""Virtual time: an event loop that never waits, and what happens beside it.

The loop is the gateway's process. What is not the gateway (network, exchange, bots) happens on the timeline, which
goes on when the gateway is dead or stands still.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import base_events
from contextlib import asynccontextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["NS_PER_S", "START_NS", "Loop", "StuckError", "Timeline", "VirtualClock"]

NS_PER_S = 1_000_000_000
START_NS = 1_795_161_600 * NS_PER_S
MOST_TURNS = 200_000
"""Turns of the loop without time passing: more is a task that spins."""


class StuckError(Exception):
    """Nothing will ever happen again, or one moment never ends."""


class Timeline:
    """What will happen, in order of time and then of being planned."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._ordinal = 0

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        """Do something at an instant; at once if that has passed."""
        self._ordinal += 1
        heapq.heappush(self._events, (max(time_ns, self.now_ns), self._ordinal, action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after a span."""
        self.at(self.now_ns + round(seconds * NS_PER_S), action)

    def step(self, until_ns: int | None) -> None:
        """Let time pass to what happens next, but not beyond an instant."""
        if not self._events:
            if until_ns is None:
                raise StuckError("nothing will ever happen again")
            self.now_ns = until_ns
            return
        time_ns = self._events[0][0]
        if until_ns is not None and until_ns < time_ns:
            self.now_ns = until_ns
            return
        self.now_ns = time_ns
        while self._events and self._events[0][0] <= time_ns:
            heapq.heappop(self._events)[2]()


class _Waiting:
    """What a loop asks for input: it gets none, but time passes."""

    def __init__(self, loop: Loop, timeline: Timeline) -> None:
        self._loop = loop
        self._timeline = timeline
        self._turns = 0

    def select(self, timeout_s: float | None) -> list[Any]:
        timeline, loop = self._timeline, self._loop
        if loop.stands_until_ns > timeline.now_ns:
            while loop.stands_until_ns > timeline.now_ns:
                timeline.step(loop.stands_until_ns)
            return []  # its timers may be overdue now
        if timeout_s is None or timeout_s > 0:
            self._turns = 0
            timeline.step(None if timeout_s is None else timeline.now_ns + max(1, ceil(timeout_s * NS_PER_S)))
        else:
            self._turns += 1
            if self._turns > MOST_TURNS:
                self._turns = 0
                raise StuckError("one moment never ends")
        return []

    def close(self) -> None:
        """Holds nothing."""


class Loop(base_events.BaseEventLoop):
    """An event loop without input or output whose time is the timeline's."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.timeline = timeline
        self._selector = _Waiting(self, timeline)
        self._clock_resolution = 1e-9
        self.stands_until_ns = 0
        """Until when the process stands still while the world goes on."""
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        return (self.timeline.now_ns - START_NS) / NS_PER_S

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else has a thread that could wake this one."""


class VirtualClock:
    """The timeline's time as the gateway sees it."""

    speed = 1.0

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def now_ns(self) -> int:
        return self._timeline.now_ns

    def now_s(self) -> float:
        return self._timeline.now_ns / NS_PER_S

    def wall_s(self, seconds: float) -> float:
        return seconds

    def fleet_s(self, wall_seconds: float) -> float:
        return wall_seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    async def sleep_until_ns(self, time_ns: int) -> None:
        while (left_ns := time_ns - self._timeline.now_ns) > 0:  # noqa: ASYNC110 - waiting for time itself
            await asyncio.sleep(left_ns / NS_PER_S)

    @asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncGenerator[None, None]:
        async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
            yield
