"""The circuit breaker as a check: it is asked before each purchase, and told how each ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from derivfleet.gateway.core.orders.circuit_breaker import WINDOW_NS, Breaker, BreakerState, Passage, Sick
from derivfleet.gateway.core.orders.denials import Denial, DerivSick
from derivfleet.gateway.core.orders.order import Order, State
from derivfleet.gateway.orders.checks import Asked, OpeningCheck

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock

__all__ = ["CircuitBreaker"]

_log = structlog.get_logger()

LEAST_WINDOW_WALL_S = 2.0
"""Networks and processors do not run faster when the clock does."""
OUR_OWN = frozenset({"ABANDONED", "CONTRACT_TAKEN"})
"""Unknown orders that Deriv is not to blame for."""


class CircuitBreaker(OpeningCheck):
    """The breaker of one account, with the clock and the log."""

    is_recorded = True

    def __init__(self, account: str, clock: Clock) -> None:
        self._account = account
        self._clock = clock
        window_ns = max(WINDOW_NS, round(clock.fleet_s(LEAST_WINDOW_WALL_S) * 1e9))
        self.breaker = Breaker(account, clock.now_ns(), window_ns)
        self._passages: dict[str, Passage] = {}
        """Of the purchases that were let through, by order id."""

    def taken(self, asked: Asked) -> Denial | None:  # noqa: ARG002 - it is about Deriv, not about the order
        """Before it waits for its turn in vain."""
        return _denial(self.breaker.refusal(self._clock.now_ns()))

    def sending(self, asked: Asked) -> Denial | None:
        """Let one order through, or not."""
        passage = self.breaker.enter(self._clock.now_ns())
        if isinstance(passage, Sick):
            return _denial(passage)
        self._passages[asked.order_id] = passage
        if self.breaker.state is BreakerState.HALF_OPEN:
            _log.info("one order is let through to see whether Deriv is well again", account=self._account)
        return None

    def ended(self, asked: Asked, order: Order | None) -> None:
        """What an order that was let through has become. All that are lost with one socket are one failure."""
        passage = self._passages.pop(asked.order_id, None)
        if passage is None:
            return
        breaker, now_ns = self.breaker, self._clock.now_ns()
        before = breaker.state
        match None if order is None else order.state:
            case State.UNKNOWN if order is not None and order.error_code not in OUR_OWN:
                breaker.failed(passage, now_ns, order.error_code, asked.lost_with)
            case State.CONFIRMED | State.SETTLED | State.REJECTED:
                breaker.worked(passage, now_ns)
            case _:  # that says nothing about Deriv
                breaker.withdrew(passage, now_ns)
        if breaker.state is BreakerState.OPEN is not before:
            retry_in_s = round((breaker.retry_time_ns - now_ns) / 1e9, 1)
            _log.error("no orders are opened", account=self._account, problem=breaker.reason, retry_in_s=retry_in_s)
        elif breaker.state is BreakerState.CLOSED is not before:
            _log.info("orders are opened again", account=self._account)


def _denial(sick: Sick | None) -> Denial | None:
    return None if sick is None else DerivSick(sick.reason, wait_ns=sick.wait_ns)
