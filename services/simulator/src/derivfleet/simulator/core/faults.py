"""What the simulated service does wrong on purpose, by call, chance, time and seed.

What is wrong for as long as the service runs is a setting: the lag of statements, a skewed clock, the time until idle
sockets are closed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.deriv.vocabulary import Call

__all__ = ["Fault", "FaultKind", "FaultRule", "Faults"]


class FaultKind(StrEnum):
    """What goes wrong."""

    DROP_BEFORE = "drop_before"
    """The socket dies before the call runs."""
    DROP_AFTER = "drop_after"
    """The call runs, then the socket dies instead of answering."""
    DROP_ANSWERED = "drop_answered"
    """The call runs and is answered, then the socket dies."""
    HALF_OPEN = "half_open"
    """The call runs, then the socket falls silent: its TCP connection stands, but nothing is read or sent any more."""
    DELAY = "delay"
    """The call runs, the answer comes late."""
    SLOW = "slow"
    """The call runs; from its answer on, everything that the socket sends comes late."""
    DUPLICATE = "duplicate"
    """The call runs, its answer is sent twice."""
    REORDER = "reorder"
    """The call runs, its answer is sent after that of the socket's next call, or a second later if there is none."""
    REVOKE = "revoke"
    """The socket's login is revoked: this call and every later one of the account is refused with InvalidToken."""
    STUCK = "stuck"
    """The purchase runs, its contract is settled late."""
    LAG = "lag"
    """The statement or the profit table runs, and does not show what is younger than the delay."""
    ERROR_BEFORE = "error_before"
    """The call does not run, an error is answered."""
    ERROR_AFTER = "error_after"
    """The call runs, then an error is answered all the same."""
    GARBAGE = "garbage"
    """The call runs, the answer is no JSON."""
    BARE = "bare"
    """The call runs, the answer lacks msg_type, echo_req and req_id."""
    REFUSE_LOGIN = "refuse_login"
    """A token is refused: 401 for a one-time URL, InvalidToken for authorize."""
    REFUSE_HANDSHAKE = "refuse_handshake"
    """A socket is refused with 401, in either dialect."""
    TICK_GAP = "tick_gap"
    """A tick is not announced to anybody."""
    REPEAT_QUOTE = "repeat_quote"
    """A tick is announced with the quote of the one before."""


_DOORS = frozenset({FaultKind.REFUSE_LOGIN, FaultKind.REFUSE_HANDSHAKE})
"""What happens on the way in, and not to calls."""
_TICKS = frozenset({FaultKind.TICK_GAP, FaultKind.REPEAT_QUOTE})
"""What happens to what the market tells, and not to calls."""
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class FaultRule:
    """When a fault happens. ``call`` None means any call; ``count`` None means for ever."""

    kind: FaultKind
    call: Call | None = None
    probability: float = 1.0
    count: int | None = None
    skip: int = 0
    """How many matching calls to leave alone first."""
    delay_s: float = 0.0
    """For DELAY, SLOW, STUCK and LAG."""
    code: str = "InternalServerError"
    """For ERROR_BEFORE and ERROR_AFTER."""
    abrupt: bool = True
    """Whether a dropped socket ends without a close frame (1006 to the client) or with 1001."""
    after_s: float = 0.0
    """How long after it was added the rule begins to apply."""
    lasts_s: float | None = None
    """How long it applies from then on; None is for ever."""


@dataclass(slots=True)
class Fault:
    """A rule and what became of it."""

    rule: FaultRule
    added_ns: int = 0
    matched: int = 0
    happened: int = 0

    def applies(self, now_ns: int) -> bool:
        """Whether its time has come and not passed."""
        start_ns = self.added_ns + round(self.rule.after_s * _NS_PER_S)
        lasts_s = self.rule.lasts_s
        return start_ns <= now_ns and (lasts_s is None or now_ns < start_ns + round(lasts_s * _NS_PER_S))


class Faults:
    """All rules, in order; the first that applies to a call wins. Chances are drawn from the seed."""

    def __init__(self, seed: str, now_ns: int = 0) -> None:
        self.now_ns = now_ns
        """The time, as it was last told."""
        self._seed = seed
        self._number = 0
        self._faults: dict[int, Fault] = {}

    def add(self, rule: FaultRule) -> int:
        """Add a rule and return its number."""
        self._number += 1
        self._faults[self._number] = Fault(rule, self.now_ns)
        return self._number

    def remove(self, number: int) -> None:
        """Remove one rule; nothing happens if it is gone."""
        self._faults.pop(number, None)

    def clear(self) -> None:
        """Remove all rules."""
        self._faults.clear()

    @property
    def active(self) -> dict[int, Fault]:
        """All rules by number."""
        return dict(self._faults)

    def on_call(self, call: Call) -> FaultRule | None:
        """The fault that happens to this call, if any."""
        return self._first(lambda rule: rule.kind not in _DOORS | _TICKS and rule.call in (None, call))

    def on_login(self) -> bool:
        """Whether this login is refused."""
        return self._first(lambda rule: rule.kind is FaultKind.REFUSE_LOGIN) is not None

    def on_handshake(self) -> bool:
        """Whether this socket is refused."""
        return self._first(lambda rule: rule.kind is FaultKind.REFUSE_HANDSHAKE) is not None

    def on_tick(self) -> FaultKind | None:
        """What happens to the announcement of this tick."""
        rule = self._first(lambda rule: rule.kind in _TICKS)
        return None if rule is None else rule.kind

    def _first(self, matches: Callable[[FaultRule], bool]) -> FaultRule | None:
        for number, fault in self._faults.items():
            rule = fault.rule
            if not matches(rule) or not fault.applies(self.now_ns):
                continue
            fault.matched += 1
            if fault.matched <= rule.skip or (rule.count is not None and fault.happened >= rule.count):
                continue
            if self._chance(number, fault.matched) < rule.probability:
                fault.happened += 1
                return rule
        return None

    def _chance(self, number: int, ordinal: int) -> float:
        digest = hashlib.blake2b(f"{self._seed}/fault/{number}/{ordinal}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64
