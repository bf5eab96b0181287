"""What to do about a process that has ended: pure."""

from __future__ import annotations

from dataclasses import dataclass

from derivfleet.common.backoff import backoff_s
from derivfleet.common.errors import EXIT_CONFIGURATION

__all__ = ["STABLE_S", "GiveUp", "Restart", "restart_or_give_up"]

STABLE_S = 30.0
"""After so long a run (wall seconds) a process has no failures behind it any more."""
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after a pause (wall seconds); ``failures`` is how often in a row it has ended so."""

    after_s: float
    failures: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It ended because of its configuration: it would end so every time."""


def restart_or_give_up(name: str, exit_code: int, ran_s: float, failures: int) -> Restart | GiveUp:
    """Judge the end of a process that nobody asked to end.

    ``failures`` is how often in a row it had ended before. An end with code 0 is unasked for too, so it is restarted
    like a crash.
    """
    if exit_code == EXIT_CONFIGURATION:
        return GiveUp()
    before = 0 if ran_s >= STABLE_S else failures
    return Restart(backoff_s(before, name, FIRST_WAIT_S, LONGEST_WAIT_S), before + 1)
