"""The one clock of a fleet.

Every wait, window, deadline and timestamp of every service goes through a :class:`Clock`. It can run N times faster
than the wall (``SPEED=60``), and it shows the same time in all processes of a fleet: fleet time is
``origin + (wall − origin) × speed``, where the origin is one instant handed to every process.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from derivfleet.common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager

__all__ = ["NS_PER_S", "Clock", "FleetClock", "ManualClock", "clock_from_environment"]

NS_PER_S = 1_000_000_000

SPEED_VARIABLE = "SPEED"
ORIGIN_VARIABLE = "DERIVFLEET_CLOCK_ORIGIN_NS"

_QUIET_TURNS = 3
"""After so many turns in which nothing else ran, nothing will: between two of them the loop looks at its sockets."""


class Clock(Protocol):
    """Fleet time. All arguments and results are in fleet time unless their name says ``wall``."""

    @property
    def speed(self) -> float:
        """Fleet seconds per wall second."""
        ...

    def now_ns(self) -> int:
        """UTC, nanoseconds since 1970. Never goes back within a process."""
        ...

    def now_s(self) -> float:
        """UTC, seconds since 1970."""
        ...

    def wall_s(self, seconds: float) -> float:
        """How many wall seconds a span of fleet seconds takes: for libraries that wait by themselves."""
        ...

    def fleet_s(self, wall_seconds: float) -> float:
        """How many fleet seconds pass in a span of wall seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for a span of fleet time."""
        ...

    async def sleep_until_ns(self, time_ns: int) -> None:
        """Wait until an instant of fleet time; returns at once if it has passed."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Raise TimeoutError in the block after a span of fleet time; None never does."""
        ...


class FleetClock:
    """The wall's time, possibly sped up. Immune to steps of the wall clock after its creation."""

    def __init__(self, speed: float = 1.0, origin_ns: int = 0) -> None:
        self._speed = speed
        self._start_monotonic_ns = time.monotonic_ns()
        wall_ns = time.time_ns()
        self._start_ns = wall_ns if speed == 1.0 else origin_ns + round((wall_ns - origin_ns) * speed)

    @property
    def speed(self) -> float:
        return self._speed

    def now_ns(self) -> int:
        passed_ns = time.monotonic_ns() - self._start_monotonic_ns
        return self._start_ns + (passed_ns if self._speed == 1.0 else round(passed_ns * self._speed))

    def now_s(self) -> float:
        return self.now_ns() / NS_PER_S

    def wall_s(self, seconds: float) -> float:
        return seconds / self._speed

    def fleet_s(self, wall_seconds: float) -> float:
        return wall_seconds * self._speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds) / self._speed)

    async def sleep_until_ns(self, time_ns: int) -> None:
        # asyncio may wake a little early (its timers have a resolution), so ask again.
        while (left_ns := time_ns - self.now_ns()) > 0:  # noqa: ASYNC110 - waiting for time itself
            await asyncio.sleep(left_ns / NS_PER_S / self._speed)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(None if seconds is None else max(0.0, seconds) / self._speed)


class ManualClock:
    """Virtual time for tests: it stands still until :meth:`advance` moves it."""

    def __init__(self, start_s: float = 1_795_161_600.0) -> None:
        self._now_ns = round(start_s * NS_PER_S)
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ordinals = itertools.count()

    @property
    def speed(self) -> float:
        return 1.0

    def now_ns(self) -> int:
        return self._now_ns

    def now_s(self) -> float:
        return self._now_ns / NS_PER_S

    def wall_s(self, seconds: float) -> float:
        return seconds

    def fleet_s(self, wall_seconds: float) -> float:
        return wall_seconds

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until_ns(self._now_ns + round(max(0.0, seconds) * NS_PER_S))

    async def sleep_until_ns(self, time_ns: int) -> None:
        if time_ns <= self._now_ns:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (time_ns, next(self._ordinals), woken))
        await woken

    @asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncGenerator[None, None]:
        async with asyncio.timeout(None) as scope:
            if seconds is None:
                yield
                return

            async def expire() -> None:
                await self.sleep(seconds)
                scope.reschedule(asyncio.get_running_loop().time())

            alarm = asyncio.create_task(expire())
            try:
                yield
            finally:
                alarm.cancel()

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking sleepers one by one in order and letting each run to its next wait."""
        end_ns = self._now_ns + round(seconds * NS_PER_S)
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end_ns:
            wake_ns, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._now_ns = max(self._now_ns, wake_ns)
            woken.set_result(None)
            await self.settle()
        self._now_ns = end_ns

    @staticmethod
    async def settle(turns: int = 50) -> None:
        """Let every task that can run do so, in so many turns of the event loop at most."""
        loop = asyncio.get_running_loop()
        quiet_turns = 0
        for _ in range(turns):
            await asyncio.sleep(0)
            # What is queued beside this task. A loop that keeps its queue to itself is given all the turns.
            quiet_turns = 0 if getattr(loop, "_ready", True) else quiet_turns + 1
            if quiet_turns == _QUIET_TURNS:
                return


def clock_from_environment(environment: Mapping[str, str] = os.environ) -> FleetClock:
    """Build the process's clock from ``SPEED`` and ``DERIVFLEET_CLOCK_ORIGIN_NS``.

    Raises ConfigurationError if the speed is not between 0.1 and 1000, or if it is not 1 and the origin is missing:
    without a shared origin two processes would not agree on the time.
    """
    text = environment.get(SPEED_VARIABLE, "1")
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0.1 <= speed <= 1000:  # noqa: PLR2004 - the sentence below says the same
        raise ConfigurationError(SPEED_VARIABLE, f"must be a number from 0.1 to 1000, not {text!r}")
    if speed == 1.0:
        return FleetClock()
    origin = environment.get(ORIGIN_VARIABLE, "")
    if not origin.isdigit():
        raise ConfigurationError(
            ORIGIN_VARIABLE,
            "must hold an instant in nanoseconds since 1970, the same in all processes, if SPEED is not 1",
        )
    return FleetClock(speed, int(origin))
