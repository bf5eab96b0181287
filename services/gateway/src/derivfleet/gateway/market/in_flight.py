"""Calls under way, each for everybody who asks the same meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from derivfleet.connection.connection import AnswerLostError
from derivfleet.gateway.core.market.coalescing import Source
from derivfleet.gateway.core.orders.denials import DeniedError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from derivfleet.common.clock import Clock

__all__ = ["InFlightCalls"]

T = TypeVar("T")
Start = Callable[[Callable[[], None]], Coroutine[Any, Any, T]]
"""Makes a call, and calls what it is given when that is about to be sent."""


class _InFlightCall(Generic[T]):
    """One call and those who wait for it."""

    def __init__(self, clock: Clock, start: Start[T], name: str) -> None:
        self._clock = clock
        self.waiting = 0
        self.sent_ns: float = inf
        self.task = asyncio.create_task(start(self._sent), name=name)

    def _sent(self) -> None:
        self.sent_ns = self._clock.now_ns()


class InFlightCalls(Generic[T]):
    """Calls of one kind. The first who asks makes the call and pays for it; the others wait for its answer."""

    def __init__(self, name: str, clock: Clock, joinable_ns: int) -> None:
        """A call that was sent longer ago than ``joinable_ns`` is not joined: its answer would be as old as that."""
        self._name = name
        self._clock = clock
        self._joinable_ns = joinable_ns
        self._open: dict[Hashable, _InFlightCall[T]] = {}

    async def join(self, key: Hashable, deadline_ns: int, start: Start[T]) -> tuple[T, Source]:
        """The answer to ``key``.

        Who gives up (a deadline, a cancellation) leaves the call to the others; it ends when nobody is left. If the
        first one's call could not be sent before *its* deadline, another one makes its own. Raises what ``start``
        raises, or AnswerLostError at the deadline.
        """
        while True:
            call = self._open.get(key)
            if call is None or self._clock.now_ns() - call.sent_ns > self._joinable_ns:
                call = self._open[key] = _InFlightCall(self._clock, start, f"{self._name} {key}")
                return await self._answer(key, call), Source.DERIV
            left_s = (deadline_ns - self._clock.now_ns()) / 1e9
            try:
                async with self._clock.timeout(left_s):
                    return await self._answer(key, call), Source.SHARED
            except DeniedError:
                continue
            except TimeoutError:
                raise AnswerLostError(self._name, "Deadline", handed_over=call.sent_ns < inf) from None

    async def _answer(self, key: Hashable, call: _InFlightCall[T]) -> T:
        call.waiting += 1
        try:
            return await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if call.task.done() or not call.waiting:
                call.task.cancel()
                if self._open.get(key) is call:
                    del self._open[key]
