"""What the simulated service does wrong on purpose."""

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
    HALF_OPEN = "half_open"
    """The call runs, then the socket falls silent: its TCP connection stands, but nothing is read or sent any more."""
    DELAY = "delay"
    """The call runs, the answer comes late."""
    SLOW = "slow"
    """The call runs; from its answer on, everything that the socket sends comes late."""
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


_DOORS = frozenset({FaultKind.REFUSE_LOGIN, FaultKind.REFUSE_HANDSHAKE})
"""What happens on the way in, and not to calls."""


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
    """For DELAY and SLOW."""
    code: str = "InternalServerError"
    """For ERROR_BEFORE and ERROR_AFTER."""
    abrupt: bool = True
    """Whether a dropped socket ends without a close frame (1006 to the client) or with 1001."""


@dataclass(slots=True)
class Fault:
    """A rule and what became of it."""

    rule: FaultRule
    matched: int = 0
    happened: int = 0


class Faults:
    """All rules, in order; the first that applies to a call wins. Chances are drawn from the seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._number = 0
        self._faults: dict[int, Fault] = {}

    def add(self, rule: FaultRule) -> int:
        """Add a rule and return its number."""
        self._number += 1
        self._faults[self._number] = Fault(rule)
        return self._number

    def clear(self) -> None:
        """Remove all rules."""
        self._faults.clear()

    @property
    def active(self) -> dict[int, Fault]:
        """All rules by number."""
        return dict(self._faults)

    def on_call(self, call: Call) -> FaultRule | None:
        """The fault that happens to this call, if any."""
        return self._first(lambda rule: rule.kind not in _DOORS and rule.call in (None, call))

    def on_login(self) -> bool:
        """Whether this login is refused."""
        return self._first(lambda rule: rule.kind is FaultKind.REFUSE_LOGIN) is not None

    def on_handshake(self) -> bool:
        """Whether this socket is refused."""
        return self._first(lambda rule: rule.kind is FaultKind.REFUSE_HANDSHAKE) is not None

    def _first(self, matches: Callable[[FaultRule], bool]) -> FaultRule | None:
        for number, fault in self._faults.items():
            rule = fault.rule
            if not matches(rule):
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
