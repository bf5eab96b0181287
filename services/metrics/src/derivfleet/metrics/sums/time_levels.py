"""The lengths of time that sums are kept for, and how a longer run of time is made of them. Pure."""

from __future__ import annotations

__all__ = ["HOUR_S", "LEVELS_S", "MINUTE_S", "WINDOW_S", "pieces"]

MINUTE_S, WINDOW_S, HOUR_S = 60, 300, 3_600
LEVELS_S = (MINUTE_S, WINDOW_S, HOUR_S)
"""The pieces of time that are kept: minutes for two days (for the live page), five minutes and hours for ever."""


def pieces(start_s: int, end_s: int, levels_s: tuple[int, ...] = LEVELS_S) -> list[tuple[int, int, int]]:
    """The fewest pieces (level, start, end of the run) that fill [start, end), in order of time.

    Neighbours of one level are one run. What no level divides is not covered: ask for whole minutes.
    """
    runs: list[tuple[int, int, int]] = []
    at_s = start_s
    while at_s < end_s:
        level_s = next((one for one in reversed(levels_s) if at_s % one == 0 and at_s + one <= end_s), 0)
        if not level_s:
            raise ValueError(f"{start_s} to {end_s} is not made of whole pieces of {levels_s[0]} s")
        if runs and runs[-1][0] == level_s and runs[-1][2] == at_s:
            runs[-1] = (level_s, runs[-1][1], at_s + level_s)
        else:
            runs.append((level_s, at_s, at_s + level_s))
        at_s += level_s
    return runs
