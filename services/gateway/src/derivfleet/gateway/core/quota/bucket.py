"""One bucket of an account's calls: its limits, the bots that share it, and who waits at each level of urgency."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import suppress
from itertools import accumulate, pairwise, takewhile
from typing import TYPE_CHECKING

from derivfleet.gateway.core.quota.call_log import NEVER_NS
from derivfleet.gateway.core.quota.permits import Rank, ShareUse
from derivfleet.gateway.core.quota.shares import Cap, FairQueue, Member
from derivfleet.gateway.core.quota.windows import EXIT, LOAN, OWN, Tier, Windows
from derivfleet.gateway.core.quota.write_ahead import WriteAhead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.quota.shares import Flow
    from derivfleet.gateway.core.quota.write_ahead import Block

__all__ = ["Bucket"]


class Bucket:
    """One bucket. ``wake_ns``: when it has to be looked at if nothing else happens."""

    def __init__(
        self,
        name: str,
        windows: Mapping[int, int],
        headroom: float,
        weights: Mapping[str, float],
        caps: Mapping[str, dict[Call, Cap]],
        landing_ns: int,
        opened: list[Block],
        drift: float,
    ) -> None:
        """``opened``: see ``write_ahead``."""
        self.windows = Windows(name, windows, headroom, drift)
        self.write_ahead = WriteAhead(name, self.windows.limits[0], landing_ns, opened)
        self.members: dict[str, Member] = {}
        self.levels = exits, reconciling, ordinary = FairQueue(), FairQueue(), FairQueue()
        """The most urgent first."""
        self._tiers = ((exits, EXIT, EXIT), (reconciling, EXIT, EXIT), (ordinary, OWN, LOAN))
        """How deep the calls of each level may reach, within a bot's share and beyond it."""
        self.wake_ns = NEVER_NS
        self.binding = ""
        """What made it wait last, as ``trade/60s``."""
        self.hangs = False
        """Whether the next to go hangs on answers: nobody can tell when, until one has come."""
        self._starts: deque[tuple[int, str]] = deque()
        """Who started calls when, as long as the longest window counts them."""
        self._weights = weights
        self._caps = caps
        for bot in weights:
            self.member(bot)

    @property
    def waiting(self) -> int:
        exits, reconciling, ordinary = self.levels
        return exits.waiting + reconciling.waiting + ordinary.waiting

    def level(self, rank: Rank) -> FairQueue:
        return self.levels[min(rank, Rank.BUY)]

    def first(self, now_ns: int) -> tuple[FairQueue, Flow | None, Tier, int]:
        """Whose call is next, on which level and how deep it may reach; None if none may go now, and when to look."""
        wake_ns = NEVER_NS
        for level, own, loan in self._tiers:
            if level.waiting:
                flow = level.own(now_ns)
                if flow is not None:
                    return level, flow, own, wake_ns
                flow = level.loan()
                if flow is not None:
                    return level, flow, loan, wake_ns
                wake_ns = min(wake_ns, level.wakes_ns())
        return self.levels[-1], None, LOAN, wake_ns

    def member(self, bot: str) -> Member:
        """A bot's part; one that has no weight gets the mean."""
        member = self.members.get(bot)
        if member is None:
            weight = self._weights.get(bot) or sum(self._weights.values()) / max(1, len(self._weights)) or 1.0
            member = self.members[bot] = Member(bot, weight, self.windows.log.lengths_ns[0], self._caps.get(bot, {}))
            self._share(member)
        return member

    def adopt(self, windows: Mapping[int, int], headroom: float) -> None:
        """Take over limits that the server has told."""
        self.windows.adopt(windows, headroom)
        for member in self.members.values():
            self._share(member)

    def tier(self, rank: Rank, member: Member, now_ns: int) -> Tier:
        """How deep into the reserves a call may reach now."""
        _, own, loan = self._tiers[min(rank, Rank.BUY)]
        return own if member.own_from_ns() <= now_ns else loan

    def start(self, bot: str, tier: Tier, now_ns: int) -> int:
        """A call starts; the number of the block that it is written down in."""
        self.windows.spend(tier)
        self._starts.append((now_ns, bot))
        oldest_ns = now_ns - self.windows.log.lengths_ns[-1]
        while self._starts[0][0] <= oldest_ns:
            self._starts.popleft()
        self.members[bot].spend(tier, now_ns)
        return self.write_ahead.spend(now_ns)

    def unstart(self, bot: str, tier: Tier, block: int, start_ns: int) -> None:
        """A call that started was not sent after all."""
        self.windows.unspend(tier)
        with suppress(ValueError):  # it may be forgotten
            self._starts.remove((start_ns, bot))
        self.members[bot].unspend(tier)
        self.write_ahead.give_back(block)

    def wait(self, member: Member, call: Call, rank: Rank, now_ns: int) -> tuple[int, str]:
        """About how long a new call would wait, in ns, and why."""
        level, windows = self.level(rank), self.windows
        flow, tier = level.flow(member), self.tier(rank, member, now_ns)
        urgent = sum(other.waiting for other in self.levels[: min(rank, Rank.BUY)])
        ahead = flow.ahead(rank)
        position = urgent + ahead + level.before(flow, ahead, own=tier is OWN) + 1
        waits = [windows.ready_in_ns(position, min(tier, OWN), now_ns)]
        if tier is LOAN:
            loan_ns, why = windows.ready_in_ns(1, LOAN, now_ns)
            own_ns = max(member.own_from_ns() - now_ns, windows.ready_in_ns(1, OWN, now_ns)[0])
            waits.append((min(loan_ns, own_ns), why))
        if call in member.caps:
            capped_ns = member.caps[call].allows_ns(flow.ahead(rank, call) + 1, now_ns)
            if capped_ns != NEVER_NS:
                waits.append((capped_ns - now_ns, f"cap/{call}"))
        return max(waits, key=lambda wait: wait[0])

    def waiting_by_bot(self) -> Iterator[tuple[str, int]]:
        """How many calls of each bot wait."""
        for bot in self._weights:
            yield bot, sum(level.flows[bot].waiting for level in self.levels if bot in level.flows)

    def share_use(self, now_ns: int) -> list[ShareUse]:
        """Each bot's windows; the gateway's own calls are nobody's share."""
        windows, total = self.windows, sum(self._weights.values())
        used = [self._used(length_ns, now_ns) for length_ns in windows.log.lengths_ns]
        beyond = [used[0][bot] - int(self.members[bot].share) for bot in self._weights]
        lent = _in_proportion([max(0, -calls) for calls in beyond], sum(max(0, calls) for calls in beyond))
        uses: list[ShareUse] = []
        for number, (bot, waiting) in enumerate(self.waiting_by_bot()):
            share, borrows, lends = int(self.members[bot].share), max(0, beyond[number]), lent[number]
            for window, window_s in enumerate(windows.windows_s):
                if window > 0:
                    share, borrows, lends = int(windows.limits[window] * self._weights[bot] / total), 0, 0
                uses.append(ShareUse(bot, windows.name, window_s, share, used[window][bot], borrows, lends, waiting))
        return uses

    def _used(self, length_ns: int, now_ns: int) -> Counter[str]:
        """Calls that each bot started within a window."""
        recent = takewhile(lambda start: start[0] > now_ns - length_ns, reversed(self._starts))
        return Counter(bot for _, bot in recent)

    def _share(self, member: Member) -> None:
        part = member.weight / (sum(self._weights.values()) or member.weight)
        member.give_share(self.windows.limits[0] * part, self.windows.sustained * part)


def _in_proportion(parts: list[int], calls: int) -> list[int]:
    """Share calls out in whole numbers, so that they add up, and no part exceeds itself; at most the sum of all."""
    total = sum(parts) or 1
    given = [passed * min(calls, total) // total for passed in accumulate(parts, initial=0)]
    return [end - begin for begin, end in pairwise(given)]
