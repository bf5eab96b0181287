"""The state of one alert: whether a bot, or the account, is wrong by one rule, with patience in both directions.

A value beyond the threshold must stay there for ``for_ns`` before the alert fires. A value on the good side of
``clear`` must stay there for ``clear_for_ns`` before it is over. Between the two nothing changes. A value that is not
known (None) proves neither: it ends a waiting that had begun, and leaves what fires firing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["AlertState", "Bounds", "Phase"]


class Phase(StrEnum):
    """Where an alert stands."""

    OK = "ok"
    PENDING = "pending"
    """Wrong, but not for long enough yet."""
    FIRING = "firing"
    CLEARING = "clearing"
    """Firing still, and right again, but not for long enough yet."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is wrong and for how long; ``below``: too little is wrong, instead of too much."""

    threshold: Decimal
    clear: Decimal
    for_ns: int = 0
    clear_for_ns: int = 0
    below: bool = False

    def is_bad(self, value: Decimal | None) -> bool:
        """Beyond the threshold."""
        if value is None:
            return False
        return value < self.threshold if self.below else value > self.threshold

    def is_good(self, value: Decimal | None) -> bool:
        """On the good side of ``clear``; its edge is good."""
        if value is None:
            return False
        return value >= self.clear if self.below else value <= self.clear


@dataclass(frozen=True, slots=True)
class AlertState:
    """The state of one rule and bot. ``since_ns``: when the phase began; ``fired_ns``: when it last began to fire.

    ``fired_ns`` names the alert: no two of one rule and bot begin at one instant.
    """

    phase: Phase = Phase.OK
    since_ns: int = 0
    fired_ns: int = 0

    @property
    def is_firing(self) -> bool:
        return self.phase in (Phase.FIRING, Phase.CLEARING)

    def step(self, bounds: Bounds, value: Decimal | None, now_ns: int) -> AlertState:
        """What becomes of it when a value is seen. ``now_ns`` never goes back."""
        state = self._turned(bounds, value, now_ns)
        waited_ns = now_ns - state.since_ns
        if state.phase is Phase.PENDING and waited_ns >= bounds.for_ns:
            return AlertState(Phase.FIRING, now_ns, now_ns)
        if state.phase is Phase.CLEARING and waited_ns >= bounds.clear_for_ns:
            return replace(state, phase=Phase.OK, since_ns=now_ns)
        return state

    def _turned(self, bounds: Bounds, value: Decimal | None, now_ns: int) -> AlertState:
        """The phase that the value alone asks for, before patience is considered."""
        if self.is_firing:
            phase = Phase.CLEARING if bounds.is_good(value) else Phase.FIRING
        else:
            phase = Phase.PENDING if bounds.is_bad(value) else Phase.OK
        return self if phase is self.phase else replace(self, phase=phase, since_ns=now_ns)
