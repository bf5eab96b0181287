"""One bucket of the account's call limits: linked windows that all hold at once, safe whatever kind the server uses.

Deriv publishes how many calls a minute and an hour may hold, not what kind of window it counts in. If no span of a
window's length, wherever it begins, holds more calls than the limit, then neither does a fixed window that happens to
begin there.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum
from math import floor, inf
from operator import itemgetter, sub
from typing import TYPE_CHECKING

from derivfleet.gateway.core.quota.call_log import DRIFT, NEVER_NS, NS_PER_S, CallLog
from derivfleet.gateway.core.quota.exit_reserve import Budget, horizons_ns
from derivfleet.gateway.core.quota.pacing import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXIT", "LOAN", "OWN", "Tier", "WindowUse", "Windows"]

PENALTY_NS = 60 * NS_PER_S
"""After a refusal by Deriv the bucket rests for the length of its short window (refusals name no delay)."""
LOWERED = 0.95
"""What is left of a limit after Deriv has refused a call again within the hour, and of that after the next time."""
LOWEST = 0.5
BURST_PART = 0.155
"""Part of the short window's limit that exits may want at once; kept free in the long window ..."""
LONG_RESERVE_PART = 0.0037
"""... but never more than this part of the long one: that is the price of it."""
RETURNING_SHARE = 0.07
"""Loans keep so much more of the long window free, for those who come back."""
LOANS_AT_ONCE = 2.0
LOAN_EASE = 1.1
"""Loans are paced in the short window too: they must return as evenly as they were taken, or those who lent would find
nothing for a while. The ease lets the calls that return decide in the end, not the pace."""
EXITS_PART = 0.1
"""Part of every limit that exits and reconciling are expected to need."""
RETURNING_PART = 0.03
"""Part of every limit that bots are expected to need who come back for a share that is lent."""


class Tier(IntEnum):
    """How deep into the reserves a call may reach."""

    EXIT = 0
    """Exits and reconciling: to the last call of every window."""
    OWN = 1
    """A bot's call within its share: leaves what exits will need."""
    LOAN = 2
    """A bot's call beyond its share: also leaves what others will need who come back for theirs."""


EXIT, OWN, LOAN = Tier
"""Looking a member up costs more than a decision can spare, it is done so often."""


@dataclass(frozen=True, slots=True)
class WindowUse:
    """How full one window is. ``reserved`` of the free calls are now held back for exits and reconciling."""

    bucket: str
    window_s: int
    limit: int
    used: int
    reserved: int


class Windows:
    """All windows of one bucket of the account, what is kept free in them, and the pace at which the longest is spent.

    In the shortest window the reserve is what exits may need until enough calls are free again, so it shrinks as the
    window ages and nothing is left over at its end (``exit_reserve``). The longest window keeps a small fixed reserve,
    and is spent at the pace that can be kept up until its old calls return: it never runs dry.
    """

    def __init__(self, name: str, windows: Mapping[int, int], headroom: float, drift: float = DRIFT) -> None:
        self.name = name
        self.windows_s = sorted(windows)
        self.log = CallLog(self.windows_s, drift)
        self.lowered = 1.0
        self._headroom = headroom
        self._windows = dict(windows)
        self._names = [f"{name}/{window_s}s" for window_s in self.windows_s]
        self._rests_until_ns = 0
        self._refused_ns = -NEVER_NS
        self._budget = Budget()
        self._set_limits()
        last, lengths_ns = len(self.windows_s) - 1, self.log.lengths_ns
        # Paces are set anew often, but not with every few calls: that costs more than deciding about them.
        hourly_ns = max(lengths_ns[last] // 360, 20 * lengths_ns[last] // self.limits[last])
        loans_ns = max(lengths_ns[0] // 60, 5 * lengths_ns[0] // self.limits[0])
        self._pace = Pace(self.log, last, self._depth, hourly_ns, lengths_ns[last] // 360, 1.0, 1.4)
        self._loan_pace = Pace(self.log, 0, LOANS_AT_ONCE, loans_ns, lengths_ns[0] // 12, LOAN_EASE, 1.5)

    def adopt(self, windows: Mapping[int, int], headroom: float) -> None:
        """Take over limits that the server has told, keeping what was counted. Windows of other lengths are ignored."""
        self._headroom = headroom
        self._windows.update({window_s: limit for window_s, limit in windows.items() if window_s in self._windows})
        self._resize()

    def earliest_ns(self, tier: Tier, now_ns: int, *, roughly: bool = False) -> tuple[int, str]:
        """When one more call may start, and which window makes it wait (``trade/60s``; empty if none does).

        ``roughly``: if it may not start now, an instant before which it surely may not.
        """
        fits_ns, binding = self._known[tier] or self._look(tier, now_ns)
        if fits_ns <= now_ns:
            fits_ns, binding = now_ns, ""
        if self._rests_until_ns > fits_ns:
            fits_ns, binding = self._rests_until_ns, f"{self.name}/refused"
        # Where the pace is what binds, whoever is woken without having asked it is mostly woken for nothing.
        if tier is not EXIT and (fits_ns <= now_ns or self._pace_binds or not roughly):
            tokens = 1.0 if tier is LOAN else 1.0 - self._cushion
            paced_ns = self._pace.ready_ns(self._lendable, tokens, now_ns)
            if paced_ns > fits_ns:
                fits_ns, binding = paced_ns, self._names[-1]
            if tier is LOAN:
                paced_ns = self._loan_pace.ready_ns(self.limits[0], 1.0, now_ns)
                if paced_ns > fits_ns:
                    fits_ns, binding = paced_ns, self._names[0]
        return fits_ns, binding

    def _look(self, tier: Tier, now_ns: int) -> tuple[int, str]:
        """When the windows have room for one more call, and which of them is the last to have it.

        That stays true until another call starts, however time passes and whatever answers come, unless it hangs on
        an answer.
        """
        found = max([(self._room_ns(window, 1, tier, now_ns), name) for window, name in enumerate(self._names)])
        if found[0] < NEVER_NS:
            self._known[tier] = found
        return found

    def _room_ns(self, window: int, calls: int, tier: Tier, now_ns: int) -> int:
        """When a window has room for so many calls more; NEVER_NS if that hangs on answers."""
        log, landed, limit = self.log, self.log.landed, self.limits[window]
        head = log.head(window, now_ns)
        spare = limit - log.in_flight - len(landed) + head - calls
        if window == 0 and tier is not EXIT:
            return self._fits_ns(spare, head, tier)
        returning = head + self._kept[tier][window] - spare - 1
        if returning < head:
            return now_ns
        return landed[returning] + log.lengths_ns[window] if returning < len(landed) else NEVER_NS

    def spend(self, tier: Tier, calls: int = 1) -> None:
        """A call starts."""
        self.log.in_flight += calls
        self._known = [None, None, None]
        if tier is not EXIT:
            self._pace.tokens -= calls
        if tier is LOAN:
            self._loan_pace.tokens -= calls

    def unspend(self, tier: Tier) -> None:
        """A call that was to start was not sent."""
        self.spend(tier, -1)

    def exits(self, asked_ns: int, until_ns: int) -> None:
        """An exit starts at an instant, or would have: what is kept for the next ones depends on how long that took.

        No reserve helps against a rest.
        """
        if asked_ns >= self._rests_until_ns and self._budget.take(until_ns - asked_ns):
            self._set_reserve()

    def recall(self, landed_ns: int, calls: int) -> None:
        """Count calls of an earlier run; some of them may still be on their way."""
        self.log.recall(landed_ns, calls)
        self._known = [None, None, None]

    def ready_in_ns(self, calls: int, tier: Tier, now_ns: int) -> tuple[int, str]:
        """About when so many calls more will have started, from now, and the window that decides it.

        The first is exact if nobody else asks and what is under way is answered now; the others assume that what
        returns is spent as it returns.
        """
        first_ns, binding = self.earliest_ns(tier, now_ns)
        if first_ns >= NEVER_NS:  # as if what is under way were answered now, which is the soonest
            log = self.log
            under_way, log.in_flight = log.in_flight, 0
            log.landed += [now_ns] * under_way
            first_ns, binding = self.earliest_ns(tier, now_ns)
            del log.landed[len(log.landed) - under_way :]
            log.in_flight = under_way
            self._known = [None, None, None]
        waits = [(first_ns - now_ns, binding)]
        if calls > 1:
            for window, length_ns in enumerate(self.log.lengths_ns):
                rounds, rest = divmod(calls - 1, self.limits[window])
                room_ns = self._room_ns(window, rest + 1, tier, now_ns)
                last_ns = length_ns if room_ns >= NEVER_NS else room_ns - now_ns
                waits.append((rounds * length_ns + last_ns, self._names[window]))
            if tier is not EXIT:
                waits.append((self._pace.wait_ns(calls - self._cushion), self._names[-1]))
        return max(waits, key=itemgetter(0))

    def available(self, now_ns: int) -> int:
        """How many ordinary calls could start now."""
        if self._rests_until_ns > now_ns:
            return 0
        rooms = [use.limit - use.used - use.reserved for use in self.use(now_ns)]
        return floor(max(0, min(*rooms, self._pace.tokens + self._cushion)))

    def refused(self, now_ns: int) -> None:
        """Deriv refused a call for rate: let the bucket rest; if that happens again within the hour, use less of it."""
        if now_ns >= self._rests_until_ns:  # those refused together are one event
            if now_ns - self._refused_ns < self.windows_s[-1] * NS_PER_S:
                self.lowered = max(LOWEST, self.lowered * LOWERED)
                self._resize()
            self._refused_ns = now_ns
        self._rests_until_ns = now_ns + PENALTY_NS

    def use(self, now_ns: int) -> list[WindowUse]:
        """How full each window is."""
        uses: list[WindowUse] = []
        for window, (window_s, limit) in enumerate(zip(self.windows_s, self.limits, strict=True)):
            used = self.log.used(window, now_ns)
            uses.append(WindowUse(self.name, window_s, limit, used, self._reserved(window, limit - used, now_ns)))
        return uses

    def _resize(self) -> None:
        self._set_limits()
        self._pace.resize(self._depth)
        self._loan_pace.resize(LOANS_AT_ONCE)

    def _set_limits(self) -> None:
        part = self._headroom * self.lowered
        # Never below one call: a limit of 0 would wait for ever.
        self.limits = [max(1, floor(self._windows[window_s] * part + 1e-9)) for window_s in self.windows_s]
        short = self.limits[0]
        kept = [0, *(min(floor(short * BURST_PART), round(limit * LONG_RESERVE_PART)) for limit in self.limits[1:])]
        lent = [calls and calls + 1 + round(calls * RETURNING_SHARE) for calls in kept]
        self._kept = [[0] * len(kept), kept, lent]
        self._lendable = self.limits[-1] - lent[-1]
        self._cushion = lent[-1] - kept[-1]
        """Calls by which bots within their share may run ahead of the pace."""
        self.sustained = min(
            limit * self.windows_s[0] / window_s for limit, window_s in zip(self.limits, self.windows_s, strict=True)
        )
        """Calls of the short window that can be kept up for ever."""
        self._pace_binds = self.sustained < short
        self._depth = short if len(kept) > 1 else inf
        """Calls that may start at once whatever the pace; a window that is the only one needs none."""
        self._set_reserve()

    def _set_reserve(self) -> None:
        self._known: list[tuple[int, str] | None] = [None, None, None]
        """By tier, what :meth:`_look` has found since the last call started."""
        short, length_ns = self.limits[0], self.log.lengths_ns[0]
        self._horizons = [
            horizons_ns(part * short / length_ns, length_ns, (short - 1) // 2, self._budget.level)
            for part in (EXITS_PART, EXITS_PART, EXITS_PART + RETURNING_PART)
        ]
        """By tier; an exit has no use for its own."""

    def _fits_ns(self, kept: int, head: int, tier: Tier) -> int:
        """When a call may start that leaves so many of the short window's calls free, for its tier: see
        ``exit_reserve``. If that is less than none, as many have to return before.
        """
        landed, horizons = self.log.landed, self._horizons[tier]
        begin = head + max(0, -kept)
        kept = max(0, kept)
        end = begin + len(horizons) - kept
        if max(begin, end) > len(landed):
            return NEVER_NS
        fits_ns = max(map(sub, landed[begin:end], horizons[kept:]), default=-NEVER_NS)
        if begin > head:
            fits_ns = max(fits_ns, landed[begin - 1])
        return fits_ns + self.log.lengths_ns[0]

    def _reserved(self, window: int, free: int, now_ns: int) -> int:
        """How many of the free calls are held back now: the fewest that an ordinary call may leave."""
        if window != 0:
            return max(0, min(free, self._kept[OWN][window]))
        head = self.log.head(0, now_ns)
        return bisect_left(range(max(0, free)), x=True, key=lambda kept: self._fits_ns(kept, head, OWN) <= now_ns)
