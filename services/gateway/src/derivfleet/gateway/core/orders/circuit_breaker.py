"""Whether orders are opened at all: not while Deriv is sick.

An order whose answer is lost, or that ends in an error of the server, may have been bought: its money is out of sight
until the account's records are read. When that becomes usual, the breaker opens and new orders are refused before they
are sent. After a while one is let through; if it is answered, the breaker closes, if not, the next wait is longer.

Closing positions, reading and reconciling do not ask.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from derivfleet.common.backoff import backoff_s

__all__ = ["Breaker", "BreakerState", "Passage", "Sick"]

NS_PER_S = 1_000_000_000

LEAST_FAILURES = 5
"""Fewer in a window are bad luck. A socket that dies counts once, however many orders it takes with it."""
FAILING_PART = 0.5
"""So much of a window's orders must have failed."""
WINDOW_NS = 30 * NS_PER_S
FIRST_WAIT_S = 2.0
MOST_WAIT_S = 60.0
TRIAL_NS = NS_PER_S
"""What is told to who asks while the one order is under way: come back so much later."""


class BreakerState(StrEnum):
    """Whether orders are opened."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One order is under way; what becomes of it decides."""


@dataclass(frozen=True, slots=True)
class Sick:
    """No order is opened now; one is tried again after ``wait_ns``."""

    wait_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Passage:
    """An order was let through; later ones have higher numbers. It ends in one of the breaker's three ways."""

    number: int


@dataclass(frozen=True, slots=True)
class _End:
    time_ns: int
    failed: bool
    cause: str


class Breaker:
    """The breaker of one account."""

    def __init__(self, key: str, now_ns: int, window_ns: int = WINDOW_NS) -> None:
        """``key`` seeds the jitter of the waits."""
        self.state = BreakerState.CLOSED
        self.since_time_ns = now_ns
        self.reason = ""
        """Why it is not closed; empty if it is."""
        self.retry_time_ns = 0
        """From when on an order is let through again; 0 if it is closed."""
        self._key = key
        self._window_ns = window_ns
        self._ends: deque[_End] = deque()
        self._number = 0
        self._heeded_from = 0
        """Orders let through before are of an earlier illness."""
        self._trial: Passage | None = None
        self._trips = 0

    def refusal(self, now_ns: int) -> Sick | None:
        """Why an order would be refused now; None if it would be let through."""
        match self.state:
            case BreakerState.HALF_OPEN:
                return Sick(TRIAL_NS, self.reason)
            case BreakerState.OPEN if now_ns < self.retry_time_ns:
                return Sick(self.retry_time_ns - now_ns, self.reason)
            case _:
                return None

    def enter(self, now_ns: int) -> Passage | Sick:
        """Let an order through, or not."""
        sick = self.refusal(now_ns)
        if sick is not None:
            return sick
        self._number += 1
        passage = Passage(self._number)
        if self.state is BreakerState.OPEN:
            self._trial = passage
            self._become(BreakerState.HALF_OPEN, now_ns)
        return passage

    def worked(self, passage: Passage, now_ns: int) -> None:
        """Deriv has answered: bought, or certainly not."""
        if passage == self._trial:
            self._trial, self._trips, self._heeded_from = None, 0, passage.number
            self._ends.clear()
            self.reason, self.retry_time_ns = "", 0
            self._become(BreakerState.CLOSED, now_ns)
        self._count(passage, _End(now_ns, failed=False, cause=""))

    def failed(self, passage: Passage, now_ns: int, code: str, cause: str = "") -> None:
        """No answer, or one that says nothing. Failures of one ``cause`` (a socket that died) count once."""
        if passage == self._trial:
            self._trial = None
            self._open(now_ns, f"the order that was tried ended in {code}")
        elif self._count(passage, _End(now_ns, failed=True, cause=cause)):
            failures = sum(end.failed for end in self._ends)
            if failures >= LEAST_FAILURES and failures >= FAILING_PART * len(self._ends):
                lost = f"{failures} of {len(self._ends)} orders in {self._window_ns / NS_PER_S:.0f} s"
                self._open(now_ns, f"{lost} had no answer that says what became of them, the last one {code}")

    def withdrew(self, passage: Passage, now_ns: int) -> None:
        """It was not sent after all, which says nothing about Deriv."""
        if passage == self._trial:
            self._trial = None
            self._become(BreakerState.OPEN, now_ns)

    def _count(self, passage: Passage, end: _End) -> bool:
        """Whether an order's end is news."""
        while self._ends and end.time_ns - self._ends[0].time_ns > self._window_ns:
            self._ends.popleft()
        known = bool(end.cause) and any(earlier.cause == end.cause for earlier in self._ends)
        if self.state is not BreakerState.CLOSED or passage.number < self._heeded_from or known:
            return False
        self._ends.append(end)
        return True

    def _open(self, now_ns: int, reason: str) -> None:
        wait_s = backoff_s(self._trips, self._key, FIRST_WAIT_S, MOST_WAIT_S)
        self._trips += 1
        self._ends.clear()
        self.reason, self.retry_time_ns = reason, now_ns + round(wait_s * NS_PER_S)
        self._become(BreakerState.OPEN, now_ns)

    def _become(self, state: BreakerState, now_ns: int) -> None:
        if state is not self.state:
            self.state, self.since_time_ns = state, now_ns
