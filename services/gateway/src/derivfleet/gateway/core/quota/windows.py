"""One bucket of the account's call limits: linked windows that all hold at once, safe whatever kind the server uses.

Deriv publishes how many calls a minute and an hour may hold, not what kind of window it counts in. If no span of a
window's length, wherever it begins, holds more calls than the limit, then neither does a fixed window that happens to
begin there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import floor
from operator import sub
from typing import TYPE_CHECKING

from derivfleet.gateway.core.quota.call_log import DRIFT, NEVER_NS, CallLog
from derivfleet.gateway.core.quota.exit_reserve import Budget, horizons_ns, looks
from derivfleet.gateway.core.quota.pacing import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BucketLimits", "Tier", "WindowUse"]

NS_PER_S = 1_000_000_000
NOTHING, RESTING = -1, -2
"""What makes a call wait if it is no window."""
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


class BucketLimits:
    """All windows of one bucket of the account, what is kept free in them, and the pace at which the longest is spent.

    In the shortest window the reserve is what exits may need until enough calls are free again, so it shrinks as the
    window ages and nothing is left over at its end (``exit_reserve``). The longest window keeps a small fixed reserve,
    and is spent at the pace that can be kept up until its old calls return: it never runs dry.
    """

    def __init__(self, name: str, windows: Mapping[int, int], headroom: float, drift: float = DRIFT) -> None:
        self.name = name
        self.windows_s = sorted(windows)
        self.log = CallLog(self.windows_s, drift)
        self._names = [*(f"{name}/{window_s}s" for window_s in self.windows_s), f"{name}/refused", ""]
        self.lowered = 1.0
        self._headroom = headroom
        self._windows = dict(windows)
        self._rests_until_ns = 0
        self._refused_ns = -NEVER_NS
        self._known: list[tuple[int, int] | None] = []
        """By tier, what :meth:`_look` has found since the last call started."""
        self._budget = Budget()
        self._set_limits()
        last, lengths_ns = len(self.windows_s) - 1, self.log.lengths_ns
        # Paces are set anew often, but not with every few calls: that costs more than deciding about them.
        hourly_ns = max(lengths_ns[last] // 360, 20 * lengths_ns[last] // self.limits[last])
        loans_ns = max(lengths_ns[0] // 60, 5 * lengths_ns[0] // self.limits[0])
        self._pace = (
            Pace(self.log, last, self.limits[0], hourly_ns, lengths_ns[last] // 360, 1.0, 1.4) if last else None
        )
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
            fits_ns, binding = now_ns, NOTHING
        if self._rests_until_ns > fits_ns:
            fits_ns, binding = self._rests_until_ns, RESTING
        # Where the pace is what binds, whoever is woken without having asked it is mostly woken for nothing.
        if tier is not EXIT and (fits_ns <= now_ns or self._pace_binds or not roughly):
            paced_ns, window = self._paced_ns(tier, now_ns)
            if paced_ns > fits_ns:
                fits_ns, binding = paced_ns, window
        return fits_ns, self._names[binding]

    def _look(self, tier: Tier, now_ns: int) -> tuple[int, int]:
        """When the windows have room for one more call, and which of them is the last to have it.

        That stays true until another call starts, however time passes and whatever answers come, unless it hangs on
        an answer.
        """
        log, landed = self.log, self.log.landed
        at_ns, binding = -NEVER_NS, NOTHING
        for window in self._order:
            head = log.head(window, now_ns)
            count = len(landed)
            free = self.limits[window] - log.in_flight - count + head
            if window == 0 and tier is not EXIT:
                fits_ns = now_ns if free > self._horizons_kept[tier] else self._fits_ns(free, head, tier)
            else:
                returning = head + self._kept[tier][window] - free
                if returning < head:
                    continue
                fits_ns = landed[returning] + log.lengths_ns[window] if returning < count else NEVER_NS
            if fits_ns > at_ns:
                at_ns, binding = fits_ns, window
        if at_ns < NEVER_NS:
            self._known[tier] = at_ns, binding
        return at_ns, binding

    def spend(self, tier: Tier) -> None:
        """A call starts."""
        self.log.in_flight += 1
        self._known = [None, None, None]
        if tier is EXIT:
            return
        if self._pace is not None:
            self._pace.tokens -= 1.0
        if tier is LOAN:
            self._loan_pace.tokens -= 1.0

    def exits(self, asked_ns: int, until_ns: int) -> None:
        """An exit starts at an instant, or would have: what is kept for the next ones depends on how long that took.

        No reserve helps against a rest.
        """
        if asked_ns >= self._rests_until_ns and self._budget.take(until_ns - asked_ns):
            self._set_reserve()

    def unspend(self, tier: Tier) -> None:
        """A call that was to start was not sent."""
        self.log.in_flight -= 1
        self._forget()
        if self._pace is not None and tier is not EXIT:
            self._pace.tokens += 1.0
        if tier is LOAN:
            self._loan_pace.tokens += 1.0

    def recall(self, landed_ns: int, calls: int, now_ns: int) -> None:
        """Count calls of an earlier run; some of them may still be on their way."""
        self.log.recall(landed_ns, calls, now_ns)
        self._forget()

    def ready_in_ns(self, calls: int, tier: Tier, now_ns: int) -> tuple[int, str]:
        """About when so many calls more will have started, from now, and the window that decides it.

        The first is exact if nobody else asks and what is under way is answered now; the others assume that what
        returns is spent as it returns.
        """
        first_ns, binding = self.earliest_ns(tier, now_ns)
        if first_ns >= NEVER_NS:
            under_way = self.log.suppose_answered(now_ns)
            first_ns, binding = self.earliest_ns(tier, now_ns)
            self.log.suppose_no_more(under_way)
            self._forget()
        wait_ns = first_ns - now_ns
        if calls <= 1:
            return wait_ns, binding
        for window in range(len(self.limits)):
            then_ns = self._nth_in_ns(window, calls, tier, now_ns)
            if then_ns > wait_ns:
                wait_ns, binding = then_ns, self._names[window]
        if self._pace is not None and tier is not EXIT:
            paced_ns = self._pace.wait_ns(calls - self._cushion)
            if paced_ns > wait_ns:
                wait_ns, binding = paced_ns, self._names[len(self.limits) - 1]
        return wait_ns, binding

    def _nth_in_ns(self, window: int, calls: int, tier: Tier, now_ns: int) -> int:
        """About when a window will have let so many calls more start, from now."""
        log, limit, length_ns = self.log, self.limits[window], self.log.lengths_ns[window]
        head = log.head(window, now_ns)
        free = limit - log.in_flight - len(log.landed) + head
        if window == 0 and tier is not EXIT:
            # The last of them finds what the others have left; the reserve is released meanwhile.
            fits_ns = self._fits_ns(free - calls + 1, head, tier)
            if fits_ns < NEVER_NS:
                return max(0, fits_ns - now_ns)
        missing = calls - free + self._kept[tier][window]
        if missing <= 0:
            return 0
        rounds, rest = divmod(missing - 1, limit)
        freed_ns = log.freed_ns(window, rest + 1, now_ns)
        return rounds * length_ns + (length_ns if freed_ns == NEVER_NS else freed_ns - now_ns)

    def available(self, now_ns: int) -> int:
        """How many ordinary calls could start now."""
        if self._rests_until_ns > now_ns:
            return 0
        rooms = [
            limit - self.log.used(window, now_ns) - self._reserved(window, now_ns)
            for window, limit in enumerate(self.limits)
        ]
        if self._pace is not None:
            rooms.append(floor(self._pace.tokens + self._cushion))
        return max(0, min(rooms))

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
        return [
            WindowUse(
                self.name,
                window_s,
                self.limits[window],
                self.log.used(window, now_ns),
                self._reserved(window, now_ns),
            )
            for window, window_s in enumerate(self.windows_s)
        ]

    def _paced_ns(self, tier: Tier, now_ns: int) -> tuple[int, int]:
        """When the paces allow a call, and in which window."""
        paced_ns, last = now_ns, len(self.limits) - 1
        if self._pace is not None:
            tokens = 1.0 if tier is LOAN else 1.0 - self._cushion
            paced_ns = self._pace.ready_ns(self._lendable, tokens, now_ns)
        if tier is LOAN:
            loan_ns = self._loan_pace.ready_ns(self.limits[0], 1.0, now_ns)
            if loan_ns > paced_ns:
                return loan_ns, 0
        return paced_ns, last

    def _resize(self) -> None:
        self._set_limits()
        if self._pace is not None:
            self._pace.resize(self.limits[0])
        self._loan_pace.resize(LOANS_AT_ONCE)

    def _forget(self) -> None:
        self._known = [None, None, None]

    def _set_limits(self) -> None:
        self._forget()
        part = self._headroom * self.lowered
        # Never below one call: a limit of 0 would wait for ever.
        self.limits = [max(1, floor(self._windows[window_s] * part + 1e-9)) for window_s in self.windows_s]
        short = self.limits[0]
        # The long window first: it is the likelier one to make a call wait, and the cheaper one to ask.
        self._order = tuple(reversed(range(len(self.limits))))
        kept = [
            0 if window == 0 else min(floor(short * BURST_PART), round(limit * LONG_RESERVE_PART))
            for window, limit in enumerate(self.limits)
        ]
        lent = [0 if not calls else calls + 1 + round(calls * RETURNING_SHARE) for calls in kept]
        self._kept = {EXIT: [0] * len(kept), OWN: kept, LOAN: lent}
        self._lendable = self.limits[-1] - lent[-1]
        self._cushion = lent[-1] - kept[-1]
        """Calls by which bots within their share may run ahead of the pace."""
        self.sustained = min(
            limit * self.windows_s[0] / window_s for limit, window_s in zip(self.limits, self.windows_s, strict=True)
        )
        """Calls of the short window that can be kept up for ever."""
        self._pace_binds = self.sustained < short
        self._set_reserve()

    def _set_reserve(self) -> None:
        self._forget()
        short, length_ns = self.limits[0], self.log.lengths_ns[0]
        horizons = {
            tier: horizons_ns(part * short / length_ns, length_ns, (short - 1) // 2, self._budget.level)
            for tier, part in ((OWN, EXITS_PART), (LOAN, EXITS_PART + RETURNING_PART))
        }
        self._horizons_kept = {tier: len(spans) for tier, spans in horizons.items()}
        self._looks = {tier: looks(tuple(spans)) for tier, spans in horizons.items()}

    def _fits_ns(self, free: int, head: int, tier: Tier) -> int:
        """When a call leaves enough of the short window for its tier: see ``exit_reserve``."""
        landed, length_ns = self.log.landed, self.log.lengths_ns[0]
        # So many calls have to return before there is one to spend at all.
        kept, skipped = (free - 1, 0) if free > 0 else (0, 1 - free)
        begin, horizons = head + skipped, self._horizons_kept[tier]
        end = begin + horizons - kept
        if begin > len(landed) or end > len(landed):
            return NEVER_NS
        fits_ns = -NEVER_NS
        if kept < horizons:
            pick, spans_ns = self._looks[tier][kept]
            fits_ns = max(map(sub, pick(landed[begin:end]), spans_ns))
        if skipped and landed[begin - 1] > fits_ns:
            fits_ns = landed[begin - 1]
        return fits_ns + length_ns

    def _reserved(self, window: int, now_ns: int) -> int:
        """Free calls that are held back now."""
        head = self.log.head(window, now_ns)
        free = self.limits[window] - self.log.in_flight - len(self.log.landed) + head
        if window != 0:
            return max(0, min(free, self._kept[OWN][window]))
        low, high = 0, max(0, free)
        while low < high:  # the largest number of calls that the reserve leaves to ordinary ones
            middle = (low + high + 1) // 2
            if free - middle + 1 > self._horizons_kept[OWN] or (self._fits_ns(free - middle + 1, head, OWN) <= now_ns):
                low = middle
            else:
                high = middle - 1
        return max(0, free) - low
