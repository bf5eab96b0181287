"""One bucket of an account's calls: its limits, the bots that share it, and who waits at each level of urgency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.gateway.core.quota.call_log import NEVER_NS
from derivfleet.gateway.core.quota.permits import Rank, ShareUse
from derivfleet.gateway.core.quota.shares import Cap, FairQueue, Member, Starts
from derivfleet.gateway.core.quota.windows import EXIT, LOAN, OWN, BucketLimits, Tier
from derivfleet.gateway.core.quota.write_ahead import Blocks

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
        self.limits = BucketLimits(name, windows, headroom, drift)
        self.blocks = Blocks(name, self.limits.limits[0], landing_ns, opened)
        self.starts = Starts(self.limits.log.lengths_ns[-1])
        self.members: dict[str, Member] = {}
        self.exits = FairQueue()
        self.reconciling = FairQueue()
        self.ordinary = FairQueue()
        self.levels = (self.exits, self.reconciling, self.ordinary)
        """The most urgent first."""
        self._levels_by_rank = (self.exits, self.reconciling, *(self.ordinary for _ in list(Rank)[2:]))
        self.wake_ns = NEVER_NS
        self.binding = ""
        """What made it wait last, as ``trade/60s``."""
        self.hangs = False
        """Whether the next to go hangs on answers: nobody can tell when, until one has come."""
        self._weights = weights
        self._caps = caps
        for bot in weights:
            self.member(bot)

    @property
    def waiting(self) -> int:
        return self.exits.waiting + self.reconciling.waiting + self.ordinary.waiting

    def level(self, rank: Rank) -> FairQueue:
        return self._levels_by_rank[rank]

    def first(self, now_ns: int) -> tuple[FairQueue, Flow | None, Tier, int]:
        """Whose call is next, on which level and how deep it may reach; None if none may go now, and when to look."""
        wake_ns = NEVER_NS
        if self.exits.waiting or self.reconciling.waiting:
            for level in (self.exits, self.reconciling):
                flow = level.own(now_ns) or level.loan()
                if flow is not None:
                    return level, flow, EXIT, wake_ns
                wake_ns = min(wake_ns, level.wakes_ns())
        level = self.ordinary
        flow = level.own(now_ns)
        if flow is not None:
            return level, flow, OWN, wake_ns
        flow = level.loan()
        if flow is None:
            wake_ns = min(wake_ns, level.wakes_ns())
        return level, flow, LOAN, wake_ns

    def member(self, bot: str) -> Member:
        """A bot's part; one that has no weight gets the mean."""
        member = self.members.get(bot)
        if member is None:
            weight = self._weights.get(bot) or sum(self._weights.values()) / max(1, len(self._weights)) or 1.0
            member = self.members[bot] = Member(bot, weight, self.limits.log.lengths_ns[0], self._caps.get(bot, {}))
            self._share(member)
        return member

    def adopt(self, windows: Mapping[int, int], headroom: float) -> None:
        """Take over limits that the server has told."""
        self.limits.adopt(windows, headroom)
        for member in self.members.values():
            self._share(member)

    def tier(self, rank: Rank, member: Member, now_ns: int) -> Tier:
        """How deep into the reserves a call may reach now."""
        if self.level(rank) is not self.ordinary:
            return EXIT
        return OWN if member.own_from_ns() <= now_ns else LOAN

    def wait(self, member: Member, call: Call, rank: Rank, now_ns: int) -> tuple[int, str]:
        """About how long a new call would wait, in ns, and why."""
        level, limits = self.level(rank), self.limits
        flow = level.flow(member)
        tier = self.tier(rank, member, now_ns)
        urgent = 0 if rank is Rank.EXIT else self.exits.waiting
        if level is self.ordinary:
            urgent += self.reconciling.waiting
        ahead = flow.ahead(rank)
        position = urgent + ahead + level.before(flow, ahead, own=tier is OWN) + 1
        wait_ns, binding = limits.ready_in_ns(position, min(tier, OWN), now_ns)
        if tier is LOAN:
            loan_ns, why = limits.ready_in_ns(1, LOAN, now_ns)
            own_ns = max(member.own_from_ns() - now_ns, limits.ready_in_ns(1, OWN, now_ns)[0])
            if min(loan_ns, own_ns) > wait_ns:
                wait_ns, binding = min(loan_ns, own_ns), why
        cap = member.caps.get(call)
        if cap is not None:
            capped_ns = cap.allows_ns(flow.ahead(rank, call) + 1, now_ns)
            if capped_ns != NEVER_NS and capped_ns - now_ns > wait_ns:
                wait_ns, binding = capped_ns - now_ns, f"cap/{call}"
        return wait_ns, binding

    def waiting_by_bot(self) -> Iterator[tuple[str, int]]:
        """How many calls of each bot wait."""
        for bot in self._weights:
            yield bot, sum(level.flows[bot].waiting for level in self.levels if bot in level.flows)

    def share_use(self, now_ns: int) -> list[ShareUse]:
        """Each bot's windows; the gateway's own calls are nobody's share."""
        limits = self.limits
        members = [self.members[bot] for bot in self._weights]
        used_by_window = [self.starts.used(length_ns, now_ns) for length_ns in limits.log.lengths_ns]
        used = [used_by_window[0][member.bot] for member in members]
        shares = [int(member.share) for member in members]
        borrowed = [max(0, spent - share) for spent, share in zip(used, shares, strict=True)]
        idle = [max(0, share - spent) for spent, share in zip(used, shares, strict=True)]
        lent = _in_proportion(idle, min(sum(idle), sum(borrowed)))
        total, waiting = sum(self._weights.values()), dict(self.waiting_by_bot())
        return [
            ShareUse(
                member.bot,
                limits.name,
                window_s,
                shares[number] if window == 0 else int(limits.limits[window] * member.weight / total),
                used_by_window[window][member.bot],
                borrowed[number] if window == 0 else 0,
                lent[number] if window == 0 else 0,
                waiting[member.bot],
            )
            for number, member in enumerate(members)
            for window, window_s in enumerate(limits.windows_s)
        ]

    def _share(self, member: Member) -> None:
        part = member.weight / (sum(self._weights.values()) or member.weight)
        member.give_share(self.limits.limits[0] * part, self.limits.sustained * part)


def _in_proportion(parts: list[int], calls: int) -> list[int]:
    """Share calls out in whole numbers, so that they add up, and no part exceeds itself; at most the sum of all."""
    shared: list[int] = []
    passed, given, total = 0, 0, sum(parts) or 1
    for part in parts:
        passed += part
        shared.append(passed * calls // total - given)
        given += shared[-1]
    return shared
