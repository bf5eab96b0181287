"""The hour that every design trades, and the clock that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from derivfleet.common.clock import NS_PER_S

__all__ = ["MARKET_HOUR", "Hour"]

MARKET_HOUR = datetime(2026, 8, 17, 12, tzinfo=UTC)
"""The simulator's prices follow from its seed and the time, so one fixed hour is one fixed market."""


@dataclass(frozen=True, slots=True)
class Hour:
    """A span of fleet time, and where it lies on the wall's clock."""

    speed: float
    start_ns: int
    """Fleet time."""
    minutes: float
    origin_ns: int
    """What makes the fleet's clocks show ``start_ns`` at the chosen instant of the wall."""

    @classmethod
    def beginning_at(cls, wall_ns: int, speed: float, minutes: float) -> Hour:
        """The hour that begins at an instant of the wall. At speed 1 there is no choice: the wall's time it is."""
        if speed == 1.0:
            return cls(speed, wall_ns, minutes, wall_ns)
        start_ns = int(MARKET_HOUR.timestamp()) * NS_PER_S
        # fleet = origin + (wall - origin) × speed, solved for the origin.
        return cls(speed, start_ns, minutes, round((wall_ns * speed - start_ns) / (speed - 1)))

    @property
    def end_ns(self) -> int:
        return self.start_ns + round(self.minutes * 60 * NS_PER_S)

    @property
    def seconds(self) -> float:
        return self.minutes * 60

    def has_second(self, epoch_s: int) -> bool:
        """Whether a whole second of fleet time lies in it."""
        return self.start_ns <= epoch_s * NS_PER_S < self.end_ns
