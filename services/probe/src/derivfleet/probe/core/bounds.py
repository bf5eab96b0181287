"""What a probe will do at most: told before it begins, and held to while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.probe.core.theories import NS_PER_S
from derivfleet.probe.core.windows import QUIET_NS, ROUNDS, most_calls

if TYPE_CHECKING:
    from collections.abc import Collection

    from derivfleet.deriv.limits import Bucket

__all__ = [
    "LATENCY_CALLS",
    "LATENCY_KINDS",
    "LOGIN_CALLS",
    "MOST_CONNECTIONS",
    "MOST_STREAMS",
    "STAKE",
    "TIME_QUESTIONS",
    "Experiment",
    "Step",
    "steps_of",
]

TIME_QUESTIONS = 12
LATENCY_CALLS = 20
"""Of each kind."""
LATENCY_KINDS = 6
MOST_STREAMS = 105
"""An older page of Deriv's site says 100."""
MOST_CONNECTIONS = 6
"""An older text says 5."""
LOGIN_CALLS = 8
"""What each step may spend besides on logging in, three times at most, and on listening to the account."""
STAKE = "0"
"""Nothing is bought."""


class Experiment(StrEnum):
    """What can be found out, in the order in which it is done."""

    CLOCK = "clock"
    LATENCY = "latency"
    STREAMS = "streams"
    SOCKETS = "sockets"
    WINDOW = "window"
    HOUR = "hour"
    """Only if asked for: it uses up an hour's calls of a bucket."""


@dataclass(frozen=True, slots=True)
class Step:
    """An experiment with its bounds: it is broken off when it has made so many calls, or taken so long."""

    experiment: Experiment
    what: str
    calls: int
    usual_s: int
    most_s: int


def steps_of(bucket: Bucket, chosen: Collection[Experiment], hour_calls: int = 0) -> tuple[Step, ...]:
    """The experiments that were chosen, in their order; ``bucket`` is the one whose windows are looked at.

    ``hour_calls`` 0 takes a little more than the bucket's published hour.
    """
    minute, hour = bucket.windows[60], bucket.windows[3600]
    quiet_s = QUIET_NS // NS_PER_S
    hour_calls = hour_calls or hour + hour // 20
    steps = (
        Step(Experiment.CLOCK, "how far Deriv's clock is ahead of ours", TIME_QUESTIONS, 10, 40),
        Step(Experiment.LATENCY, "how long answers take", LATENCY_KINDS * LATENCY_CALLS, 45, 150),
        Step(Experiment.STREAMS, "how many streams a socket may hold", MOST_STREAMS + 10, 20, 90),
        Step(Experiment.SOCKETS, "how many sockets the account may have", MOST_CONNECTIONS + 2, 10, 60),
        Step(
            Experiment.WINDOW,
            f"how {bucket.name} are counted: {minute} a minute in which kind of window",
            most_calls(minute),
            2 * quiet_s + 30,
            (1 + 4 * ROUNDS) * quiet_s,
        ),
        Step(
            Experiment.HOUR,
            f"whether refused calls count in an hour: {bucket.name} may be refused for an hour after that",
            hour_calls + 1,
            hour_calls // 5 + quiet_s,
            hour_calls + 2 * quiet_s,
        ),
    )
    return tuple(step for step in steps if step.experiment in chosen)
