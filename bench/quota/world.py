"""What lies between a client and Deriv: a network that delays, a clock that runs off, and Deriv's counters."""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

from derivfleet.deriv.dialects import dialect
from derivfleet.simulator.core.limits import CallLimits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from derivfleet.deriv.vocabulary import Call, Dialect
    from derivfleet.simulator.core.windows import WindowKind

__all__ = ["FASTEST_NS", "NS_PER_S", "START_NS", "Clocks", "Counters", "delays_ns"]

NS_PER_S = 1_000_000_000
START_NS = 1_800_000_000 * NS_PER_S
"""When the client's day begins."""

FLOOR_MS, MEDIAN_MS, SIGMA, CAP_MS = 20.0, 30.0, 0.7, 1000.0
"""One way takes 20 ms and a lognormal part of median 30 ms; at most a second. Half of all ways take 50 ms, one in a
hundred 173 ms. There and back are drawn apart, and so are neighbours: calls overtake each other, as they do on several
sockets. Assumed; nobody has measured Deriv's."""

FASTEST_NS = round(2 * FLOOR_MS * 1e6)
"""What a round trip takes at least, as `derivfleet probe` would find it; designs may be told."""

SKEW_PPM = 100
"""The client's second is longer or shorter than the server's by up to this much, drawn anew for each case. A quartz
without a time service is off by 20 to 50."""

MOST_APART_S = 3600
"""By how much the clocks differ at the start of the day: it moves the windows that start at full minutes and hours."""

_SAMPLES = 1 << 16


def delays_ns(random: Random) -> list[int]:
    """Delays of one way, to be used one after the other."""
    return [round(1e6 * min(CAP_MS, FLOOR_MS + exp(random.gauss(log(MEDIAN_MS), SIGMA)))) for _ in range(_SAMPLES)]


class Clocks:
    """The server's time for a time of the client's."""

    def __init__(self, random: Random) -> None:
        self.skew_ppm = random.uniform(-SKEW_PPM, SKEW_PPM)
        self._offset_ns = random.randrange(MOST_APART_S * NS_PER_S)
        self._skew_ppb = round(1000 * self.skew_ppm)

    def server_ns(self, client_ns: int) -> int:
        return client_ns + self._offset_ns + (client_ns - START_NS) * self._skew_ppb // NS_PER_S


class Counters:
    """The simulator's counters, one for each kind of window looked at. Refused calls count too, as they do there."""

    def __init__(self, name: Dialect, call: Call, kinds: Sequence[WindowKind]) -> None:
        self._table = dialect(name).limits
        self._call = call
        self._counters = [CallLimits(kind, count_refused=True) for kind in kinds]

    def admit(self, server_ns: int) -> bool:
        """Count a call everywhere. False if any counter refuses it."""
        admitted = True
        for counter in self._counters:
            if not counter.admit(self._table, "account", self._call, server_ns):
                admitted = False
        return admitted
