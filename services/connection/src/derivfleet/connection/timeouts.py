"""How long a socket is waited for, under a clock that may run faster than networks and processors do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.connection.core.health import Timeouts

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock

__all__ = ["answer_timeout_s", "health_timeouts"]

ANSWER_TIMEOUT_S = 15.0
"""A single user has reported 7 s for a buy."""
LEAST_ANSWER_TIMEOUT_WALL_S = 5.0

LEAST_SUSPICION_WALL_S = 0.5
LEAST_DEATH_WALL_S = 2.0
LEAST_SLOW_WALL_S = 0.25
LEAST_PING_WALL_S = 0.5
LEAST_STEP_WALL_S = 0.1

MOST_BETWEEN_PINGS_NS = 25 * NS_PER_S
"""However fast the clock: the server drops a socket without traffic after 120 s of fleet time."""


def answer_timeout_s(clock: Clock) -> float:
    """How long the answer to a call is waited for, in fleet time."""
    return max(ANSWER_TIMEOUT_S, clock.fleet_s(LEAST_ANSWER_TIMEOUT_WALL_S))


def health_timeouts(clock: Clock) -> Timeouts:
    """The usual timeouts in fleet time, but never less than these spans of wall time."""
    usual = Timeouts()

    def least(usual_ns: int, wall_s: float) -> int:
        return max(usual_ns, round(clock.fleet_s(wall_s) * NS_PER_S))

    return Timeouts(
        suspicion_ns=least(usual.suspicion_ns, LEAST_SUSPICION_WALL_S),
        death_ns=least(usual.death_ns, LEAST_DEATH_WALL_S),
        most_ns=least(usual.most_ns, LEAST_DEATH_WALL_S),
        slow_ns=least(usual.slow_ns, LEAST_SLOW_WALL_S),
        ping_every_ns=min(least(usual.ping_every_ns, LEAST_PING_WALL_S), MOST_BETWEEN_PINGS_NS),
        step_ns=least(usual.step_ns, LEAST_STEP_WALL_S),
    )
