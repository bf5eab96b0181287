"""The time of a test that never waits, and clocks that show it wrongly."""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from derivfleet.common.clock import NS_PER_S
from tests.sim.virtual_time import Loop, Timeline, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["WrongClock", "virtual_time"]

P = ParamSpec("P")


def virtual_time(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Run a test in a loop that never waits: time goes on when nothing else is to be done."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=lambda: Loop(Timeline())) as runner:
            runner.run(test(*args, **kwargs))

    return run


class WrongClock(VirtualClock):
    """A clock that is ahead of the true time, or behind it if ``ahead_s`` is negative."""

    def __init__(self, timeline: Timeline, ahead_s: float) -> None:
        super().__init__(timeline)
        self.ahead_s = ahead_s

    def now_ns(self) -> int:
        return super().now_ns() + round(self.ahead_s * NS_PER_S)

    def now_s(self) -> float:
        return self.now_ns() / NS_PER_S

    async def sleep_until_ns(self, time_ns: int) -> None:
        await super().sleep_until_ns(time_ns - round(self.ahead_s * NS_PER_S))
