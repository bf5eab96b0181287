"""Time that runs as the wall's while something happens, and skips ahead when nothing does.

For tests that talk over real sockets about minutes, with everybody in one event loop: on a busy machine such a test
only takes longer, where with a fast clock each moment that the machine takes away would be many seconds of the fleet's.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from derivfleet.common.clock import NS_PER_S, FleetClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["SkippingClock", "skipping"]

QUIET_S = 0.003
"""For so long no socket may have had anything: what is sent over loopback is there at once."""
P = ParamSpec("P")


class _Selector(selectors.DefaultSelector):
    """Waits for sockets, but not for time."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= QUIET_S:
            return super().select(timeout)
        began_s = time.monotonic()
        ready = super().select(QUIET_S)
        if not ready:
            self.skipped_s += max(0.0, timeout - (time.monotonic() - began_s))
        return ready


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers come when there is nothing else to do."""

    def __init__(self) -> None:
        self._sockets = _Selector()
        super().__init__(self._sockets)

    def time(self) -> float:
        return super().time() + self._sockets.skipped_s


class SkippingClock(FleetClock):
    """The time of the running loop."""

    def __init__(self) -> None:
        super().__init__()
        self._origin_ns = time.time_ns() - self._loop_ns()

    def now_ns(self) -> int:
        return self._origin_ns + self._loop_ns()

    @staticmethod
    def _loop_ns() -> int:
        return round(asyncio.get_running_loop().time() * NS_PER_S)


def skipping(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Run a test in a loop that skips. No threads: it does not wait for them."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(test(*args, **kwargs))

    return run
