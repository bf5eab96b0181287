"""Whose call is next: weighted fair queueing between bots, with a share that is each one's own and the rest lent.

Start-time fair queueing (Goyal, Vin, Cheng 1996): every bot has a tag that advances by 1/weight with each call; the
waiting bot with the lowest tag is next. Bots that want less than their part leave the rest to the others, and whoever
comes back starts at the present tag: it is served at once, and nobody is punished for what was lent to it.

A bot's *share* is its weight's part of the short window. Within it a call is the bot's own; beyond it the bot borrows,
and a loan must leave what others may need who come back (``windows.Tier``).
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING

from derivfleet.gateway.core.quota.call_log import NEVER_NS, CallLog
from derivfleet.gateway.core.quota.indexed_heap import Heap
from derivfleet.gateway.core.quota.windows import EXIT, Tier

if TYPE_CHECKING:
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.quota.permits import Permit

__all__ = ["FairQueue", "Flow", "Member", "Starts"]

CAP_WINDOW_S = 60
TAGS = 1 << 40
"""By so much the tag of a bot with the weight 1 advances with each call: tags are whole numbers."""
GUARANTEED_PART = 0.85
"""Part of a bot's sustained share that is its own whatever others want; the rest is for exits, and lent."""


class Cap:
    """A hard limit of one bot on one kind of call, a minute."""

    __slots__ = ("log", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.log = CallLog((CAP_WINDOW_S,))

    def allows_ns(self, calls: int, now_ns: int) -> int:
        """When so many calls more may start, or more is known about it; NEVER_NS if that depends on answers."""
        missing = self.log.used(0, now_ns) + calls - self.most
        if missing <= 0:
            return now_ns
        rounds, rest = divmod(missing - 1, self.most)
        freed_ns = self.log.freed_ns(0, rest + 1, now_ns)
        return self.log.expected_ns() if freed_ns == NEVER_NS else freed_ns + rounds * self.log.lengths_ns[0]


class Member:
    """One bot in one bucket: what it has used, its share and its caps, whatever the urgency of its calls."""

    __slots__ = ("_window_ns", "bot", "burst_ns", "caps", "debt_ns", "share", "spacing_ns", "theoretical_ns", "weight")

    def __init__(self, bot: str, weight: float, window_ns: int, caps: dict[Call, Cap]) -> None:
        """``window_ns``: length of the short window."""
        self._window_ns = window_ns
        self.bot = bot
        self.weight = weight
        self.caps = caps
        self.share = 1.0
        self.burst_ns = self.spacing_ns = self.debt_ns = 0
        """``debt_ns``: however much a bot borrows, a window and a spacing after its last loan it has its own again."""
        self.theoretical_ns = 0
        """When the share would be whole again (the theoretical arrival time of the generic cell rate algorithm)."""

    def give_share(self, share: float, sustained: float) -> None:
        """``share`` calls of the short window are the bot's own at once, and ``sustained`` of them in the long run.

        At least one is, at once. A part of the sustained share is guaranteed: bots that always want more than
        theirs are then borrowers, and those who come back after a while find what was kept for them.
        """
        self.share = max(1.0, share)
        self.spacing_ns = int(self._window_ns / (sustained * GUARANTEED_PART))
        self.burst_ns = int(self.share * self.spacing_ns)
        self.debt_ns = self.burst_ns + self._window_ns

    def unspend(self, tier: Tier) -> None:
        """A call that was to start was not sent."""
        if tier is not EXIT:
            self.theoretical_ns -= self.spacing_ns

    def own_from_ns(self) -> int:
        """From when the bot's next call is within its share."""
        return self.theoretical_ns + self.spacing_ns - self.burst_ns

    def spend(self, tier: Tier, now_ns: int) -> None:
        """A call starts. Exits are not taken from the share: there is a part of every limit for them."""
        if tier is EXIT:
            return
        whole_ns = max(now_ns, self.theoretical_ns)
        self.theoretical_ns = min(whole_ns + self.spacing_ns, now_ns + self.debt_ns)


class Starts:
    """Who started calls when, for telling what each bot has used of a window."""

    def __init__(self, longest_ns: int) -> None:
        """``longest_ns``: what is older is forgotten."""
        self._longest_ns = longest_ns
        self._starts: deque[tuple[int, str]] = deque()

    def add(self, bot: str, now_ns: int) -> None:
        starts = self._starts
        starts.append((now_ns, bot))
        oldest_ns = now_ns - self._longest_ns
        while starts[0][0] <= oldest_ns:
            starts.popleft()

    def remove(self, bot: str, start_ns: int) -> None:
        """A call was not sent after all."""
        with suppress(ValueError):  # it may be forgotten
            self._starts.remove((start_ns, bot))

    def used(self, window_ns: int, now_ns: int) -> Counter[str]:
        """Calls that each bot started within the last ``window_ns``."""
        recent = takewhile(lambda start: start[0] > now_ns - window_ns, reversed(self._starts))
        return Counter(bot for _, bot in recent)


class Flow:
    """The waiting calls of one member at one level of urgency."""

    __slots__ = ("_ordinal", "finish", "member", "number", "owns", "queues", "start", "step", "waiting")

    def __init__(self, member: Member, number: int) -> None:
        """``number``: its own within its level."""
        self.member = member
        self.number = number
        self.step = round(TAGS / member.weight)
        self.queues: dict[tuple[int, Call], dict[Permit, int]] = {}
        """By rank and kind of call, the most urgent first, with the ordinal of each permit."""
        self._ordinal = 0
        self.waiting = 0
        self.start = self.finish = 0
        """Tags: of its next call, and after its last one."""
        self.owns = False
        """Whether its next call was within its share when it was last looked at."""

    def add(self, permit: Permit) -> None:
        key = (permit.rank, permit.call)
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = {}
            self.queues = dict(sorted(self.queues.items()))
        self._ordinal += 1
        queue[permit] = self._ordinal
        self.waiting += 1

    def remove(self, permit: Permit) -> None:
        del self.queues[permit.rank, permit.call][permit]
        self.waiting -= 1

    def ahead(self, rank: int, kind: Call | None = None) -> int:
        """How many calls (of one kind) wait that are served before a new one of a rank."""
        return sum(len(queue) for (other, call), queue in self.queues.items() if other <= rank and kind in (None, call))

    def next(self, now_ns: int) -> Permit | None:
        """The permit to serve, of those of the most urgent rank the oldest; None if a cap holds each one back."""
        caps = self.member.caps
        first, first_rank, first_ordinal = None, 0, 0
        for (rank, call), queue in self.queues.items():
            if not queue:
                continue
            if first is not None and rank > first_rank:
                break
            if not caps or call not in caps or caps[call].allows_ns(1, now_ns) <= now_ns:
                permit = next(iter(queue))
                if first is None or queue[permit] < first_ordinal:
                    first, first_rank, first_ordinal = permit, rank, queue[permit]
        return first

    def wakes_ns(self, now_ns: int) -> int:
        """When the first cap lets a permit go."""
        caps = self.member.caps
        return min(
            (caps[call].allows_ns(1, now_ns) for (_, call), queue in self.queues.items() if queue), default=NEVER_NS
        )


class FairQueue:
    """The flows of one bucket at one level of urgency."""

    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self._numbered: list[Flow] = []
        self.waiting = 0
        self.weight = 0.0
        """Of all flows that have something waiting."""
        self._own_weight = 0.0
        self._tag = 0
        self._own, self._loans = Heap(), Heap()
        """Flows whose next call is within their share, and flows that would borrow, by tag."""
        self._due = Heap()
        """Flows that will be within their share, or free of a cap, by the instant."""

    def flow(self, member: Member) -> Flow:
        flow = self.flows.get(member.bot)
        if flow is None:
            flow = self.flows[member.bot] = Flow(member, len(self._numbered))
            self._numbered.append(flow)
            for heap in (self._own, self._loans, self._due):
                heap.admit()
        return flow

    def add(self, permit: Permit, flow: Flow, now_ns: int) -> None:
        """A call waits."""
        flow.add(permit)
        self.waiting += 1
        if flow.waiting == 1:
            self.weight += flow.member.weight
            flow.start = max(self._tag, flow.finish)
            self._place(flow, now_ns)
        elif flow.member.caps:
            self._place(flow, now_ns)

    def remove(self, permit: Permit, flow: Flow) -> None:
        """A call waits no more, without having been served."""
        flow.remove(permit)
        self.waiting -= 1
        if flow.waiting == 0:
            self._leave(flow)

    def pass_by(self, flow: Flow) -> None:
        """A call of this flow was served without waiting, for nobody waited."""
        flow.start = self._tag = max(self._tag, flow.finish)
        flow.finish = flow.start + flow.step

    def serve(self, permit: Permit, flow: Flow) -> None:
        """The flow's next call starts; :meth:`again` has to follow when it is counted."""
        flow.remove(permit)
        self.waiting -= 1
        self._tag = max(self._tag, flow.start)
        flow.start = flow.finish = flow.start + flow.step

    def again(self, flow: Flow, now_ns: int) -> None:
        """Put a flow where it belongs now: after a service, an answer that frees a cap, a change of its share."""
        if flow.waiting:
            self._place(flow, now_ns)
        else:
            self._leave(flow)

    def before(self, flow: Flow, ahead: int, *, own: bool) -> int:
        """About how many calls of others start before this flow's next but so many; borrowers' do not count if that
        will be its own. Rather too few: whoever is told to wait too long is refused for nothing.
        """
        start = flow.start if flow.waiting else max(self._tag, flow.finish)
        weight = self._own_weight if own else self.weight
        if flow.waiting and (flow.owns or not own):
            weight -= flow.member.weight
        return min(self.waiting - flow.waiting, int((start - self._tag + ahead * flow.step) * weight / TAGS))

    def own(self, now_ns: int) -> Flow | None:
        """The next flow whose call is its own."""
        due = self._due
        while (number := due.first_until(now_ns)) >= 0:
            self._place(self._numbered[number], now_ns)
        number = self._own.first()
        return self._numbered[number] if number >= 0 else None

    def loan(self) -> Flow | None:
        """The next flow whose call is a loan."""
        number = self._loans.first()
        return self._numbered[number] if number >= 0 else None

    def wakes_ns(self) -> int:
        """When a flow will come forward by the mere passing of time."""
        wakes_ns = self._due.lowest()
        return NEVER_NS if wakes_ns is None else wakes_ns

    def _leave(self, flow: Flow) -> None:
        self.weight = self.weight - flow.member.weight if self.waiting else 0.0
        self._stand_aside(flow)

    def _stand_aside(self, flow: Flow) -> None:
        """It is not among those whose call may be next."""
        self._set_owns(flow, owns=False)
        for heap in (self._own, self._loans, self._due):
            heap.remove(flow.number)

    def _set_owns(self, flow: Flow, *, owns: bool) -> None:
        if flow.owns is not owns:
            flow.owns = owns
            self._own_weight += flow.member.weight if owns else -flow.member.weight

    def _place(self, flow: Flow, now_ns: int) -> None:
        number = flow.number
        if flow.member.caps and flow.next(now_ns) is None:
            wakes_ns = flow.wakes_ns(now_ns)
            self._stand_aside(flow)
            if wakes_ns != NEVER_NS:
                self._due.place(number, wakes_ns)
            return
        own_ns = flow.member.own_from_ns()
        owns = own_ns <= now_ns
        if flow.owns is not owns:
            self._set_owns(flow, owns=owns)
        if owns:
            self._own.place(number, flow.start)
            self._loans.remove(number)
            self._due.remove(number)
        else:
            self._own.remove(number)
            self._loans.place(number, flow.start)
            self._due.place(number, own_ns)
