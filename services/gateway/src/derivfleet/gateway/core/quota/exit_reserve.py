"""How many calls of a window are kept free for those who must not wait, and for how long.

Exits arrive at random, at an expected rate. Until the next calls of the window return, ``kept`` free ones suffice for
a certain span: the longest in which more than ``kept`` exits are very unlikely (Poisson). That span is the *horizon*
of ``kept``. An ordinary call may start if, at every return to come, what is left free then reaches until it:

    for each j:  (instant of the (j+1)-th return) − now  ≤  horizon of (free − 1 + j)

So the reserve is large just after a burst has emptied the window, shrinks with every second that the window ages, and
is spent to the last call when the next return is near: released late rather than wasted.

How unlikely "very unlikely" is follows from what happens: one exit in a hundred may find nothing and wait, which is an
error budget. Whoever stays below it keeps less for the next ones, whoever overdraws it keeps more.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import exp, floor, sqrt
from operator import itemgetter
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Budget", "Look", "horizons_ns", "looks", "risk"]

Look = tuple["Callable[[Sequence[int]], tuple[int, ...]]", list[int]]
"""What picks the returns to look at out of those to come, and the horizon of each."""
FINE = 6
"""Reserves up to here are looked at one by one, larger ones in groups ..."""
COARSE = 1.3
"""... whose ends are so far apart: a group's last return has to lie within the horizon of its first."""

GRACE_NS = 249_000_000
"""Who finds the window full, but the next return so near, waits for it: nobody calls that waiting."""
LATE_PART = 0.0097
"""Exits that may wait longer than the grace."""
RUNS_OUT_PART = 0.00121
"""How likely it may be that a reserve runs out within its horizon while the budget is even. Each ordinary call takes
that chance, and there are about ten of them for each exit."""
LATE_EXITS_A_LEVEL = 2
LEVELS_AN_OCTAVE = 4
"""With so many levels the chance that is taken doubles."""
LOWEST_LEVEL, HIGHEST_LEVEL = -12, 4
EXACT = 200
"""Up to here the law itself is solved; for more, what Wilson and Hilferty say of it is as good, and soon done."""
LEAST_ROOT, NEARLY = 0.1, 1e-9


class Budget:
    """How many exits had to wait of those that might, and the level of risk that follows."""

    __slots__ = ("_credit", "level")

    def __init__(self) -> None:
        self._credit = 0.0
        """Exits that may still be late; there is an end to it on both sides, so that the past is forgotten."""
        self.level = 0

    def take(self, waited_ns: int) -> bool:
        """An exit starts after such a wait. Whether that changes the level."""
        credit = self._credit + LATE_PART - (waited_ns > GRACE_NS)
        self._credit = min(max(credit, LOWEST_LEVEL * LATE_EXITS_A_LEVEL), (HIGHEST_LEVEL + 1) * LATE_EXITS_A_LEVEL)
        level = min(floor(self._credit / LATE_EXITS_A_LEVEL), HIGHEST_LEVEL)
        changes = level != self.level
        self.level = level
        return changes


def horizons_ns(rate_per_ns: float, window_ns: int, most: int, level: int = 0) -> list[int]:
    """The horizon of 0, 1, 2 … kept calls, in ns; the list ends where the horizon reaches the whole window.

    ``rate_per_ns`` is the expected rate of exits, ``most`` the largest reserve wanted: beyond it no more is kept,
    however small the window. ``level``: see :class:`Budget`.
    """
    horizons: list[int] = []
    for kept in range(most):
        span_ns = GRACE_NS + round(_mean(kept + 1, level) / rate_per_ns)
        if span_ns >= window_ns:
            break
        horizons.append(span_ns)
    return horizons


def risk(level: int) -> float:
    """How likely it may be that a reserve runs out within its horizon."""
    return RUNS_OUT_PART * 2 ** (level / LEVELS_AN_OCTAVE)


@cache
def _mean(order: int, level: int) -> float:
    """The mean of a Poisson variable that reaches ``order`` with the chance of a reserve running out."""
    # What Wilson and Hilferty say is good for many, and for few where Newton begins.
    root = 1 - 1 / (9 * order) - _deviations(level) / (3 * sqrt(order))
    mean = order * max(root, LEAST_ROOT) ** 3
    if order > EXACT:
        return mean
    step = mean
    while abs(step) > NEARLY * mean:
        term, below, last = exp(-mean), 0.0, 0.0
        for number in range(order):
            below, last = below + term, term
            term *= mean / (number + 1)
        step = min((1 - below - risk(level)) / last, mean / 2)  # what is likely grows by the chance of one less
        mean -= step
    return mean


@cache
def _deviations(level: int) -> float:
    return NormalDist().inv_cdf(1 - risk(level))


@lru_cache(maxsize=512)
def looks(horizons: tuple[int, ...]) -> list[Look]:
    """For 0, 1, 2 … kept calls: which of the returns to come have to be looked at, and their horizons.

    Kept, because it takes long for a large window; nobody may change it.
    """
    edges = list(range(min(FINE, len(horizons))))
    while edges and edges[-1] < len(horizons):
        edges.append(min(len(horizons), max(edges[-1] + 1, round(edges[-1] * COARSE))))
    table: list[Look] = []
    for kept in range(len(horizons)):
        firsts = [kept, *(edge for edge in edges if kept < edge < len(horizons))]
        lasts = [*(first - 1 - kept for first in firsts[1:]), len(horizons) - 1 - kept]
        # One more, for with a single index the picker would give a number instead of a row.
        table.append((itemgetter(*lasts, lasts[-1]), [*(horizons[first] for first in firsts), horizons[firsts[-1]]]))
    return table
