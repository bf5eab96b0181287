"""The desk's side of the breaker: each purchase passes it twice, and tells it how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from derivfleet.gateway.core.orders.circuit_breaker import WINDOW_NS, Breaker, BreakerState, Passage, Sick
from derivfleet.gateway.core.orders.denials import DerivSickError
from derivfleet.gateway.core.orders.order import Order, State

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock

__all__ = ["Attempt", "Fuse"]

_log = structlog.get_logger()

LEAST_WINDOW_WALL_S = 2.0
"""Networks and processors do not run faster when the clock does."""
OUR_OWN = frozenset({"ABANDONED", "CONTRACT_TAKEN"})
"""Unknown orders that Deriv is not to blame for."""


class Attempt:
    """One purchase on its way through the breaker."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self._passage: Passage | None = None
        self.lost_with = ""
        """The socket that took its answer along: all that die with one socket are one failure."""

    def check(self) -> None:
        """Raise DerivSickError if it would not be let through now: before it waits for a turn."""
        self._fuse.check()

    def enter(self) -> None:
        """Go through, right before the sending; raises DerivSickError."""
        self._passage = self._fuse.enter()

    def ended(self, order: Order) -> Order:
        """What the order has become; returns it."""
        match order.state:
            case State.UNKNOWN if order.error_code not in OUR_OWN:
                self._leave(order.error_code)
            case State.CONFIRMED | State.SETTLED | State.REJECTED:
                self._leave("")
            case _:
                self.withdraw()
        return order

    def withdraw(self) -> None:
        """It ended in a way that says nothing about Deriv; without effect if it has ended."""
        self._leave(None)

    def _leave(self, code: str | None) -> None:
        passage, self._passage = self._passage, None
        if passage is not None:
            self._fuse.leave(passage, code, self.lost_with)


class Fuse:
    """The breaker of one account, with the clock and the log."""

    def __init__(self, account: str, clock: Clock) -> None:
        self._account = account
        self._clock = clock
        window_ns = max(WINDOW_NS, round(clock.fleet_s(LEAST_WINDOW_WALL_S) * 1e9))
        self.breaker = Breaker(account, clock.now_ns(), window_ns)

    def attempt(self) -> Attempt:
        """For one purchase."""
        return Attempt(self)

    def check(self) -> None:
        """Raise DerivSickError if no order would be let through now."""
        sick = self.breaker.refusal(self._clock.now_ns())
        if sick is not None:
            raise DerivSickError(sick.wait_ns, sick.reason)

    def enter(self) -> Passage:
        """Let one order through; raises DerivSickError."""
        passage = self.breaker.enter(self._clock.now_ns())
        if isinstance(passage, Sick):
            raise DerivSickError(passage.wait_ns, passage.reason)
        if self.breaker.state is BreakerState.HALF_OPEN:
            _log.info("one order is let through to see whether Deriv is well again", account=self._account)
        return passage

    def leave(self, passage: Passage, code: str | None, cause: str) -> None:
        """How it ended: in an error that says nothing (its code), well (empty), or not at all (None)."""
        breaker, now_ns = self.breaker, self._clock.now_ns()
        before = breaker.state
        match code:
            case None:
                breaker.withdrew(passage, now_ns)
            case "":
                breaker.worked(passage, now_ns)
            case _:
                breaker.failed(passage, now_ns, code, cause)
        if breaker.state is BreakerState.OPEN is not before:
            retry_in_s = round((breaker.retry_time_ns - now_ns) / 1e9, 1)
            _log.error("no orders are opened", account=self._account, problem=breaker.reason, retry_in_s=retry_in_s)
        elif breaker.state is BreakerState.CLOSED is not before:
            _log.info("orders are opened again", account=self._account)
