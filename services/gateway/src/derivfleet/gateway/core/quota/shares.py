"""Whose call is next: weighted fair queueing between bots, with a share that is each one's own and the rest lent.

Start-time fair queueing (Goyal, Vin, Cheng 1996): every bot has a tag that advances by 1/weight with each call; the
waiting bot with the lowest tag is next. Bots that want less than their part leave the rest to the others, and whoever
comes back starts at the present tag: it is served at once, and nobody is punished for what was lent to it.

A bot's *share* is its weight's part of the short window. Within it a call is the bot's own; beyond it the bot borrows,
and a loan must leave what others may need who come back (``windows.Tier``).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from derivfleet.gateway.core.quota.call_log import NEVER_NS, CallLog
from derivfleet.gateway.core.quota.indexed_heap import IndexedHeap
from derivfleet.gateway.core.quota.permits import Rank
from derivfleet.gateway.core.quota.windows import EXIT, Tier

if TYPE_CHECKING:
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.quota.permits import Permit

__all__ = ["Cap", "FairQueue", "Flow", "Member"]

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
        """When so many calls more may start; NEVER_NS if that depends on answers."""
        missing = self.log.used(0, now_ns) + calls - self.most
        if missing <= 0:
            return now_ns
        rounds, rest = divmod(missing - 1, self.most)
        freed_ns = self.log.freed_ns(0, rest + 1, now_ns)
        return NEVER_NS if freed_ns == NEVER_NS else freed_ns + rounds * self.log.lengths_ns[0]


class Member:
    """One bot in one bucket: what it has used, its share and its caps, whatever the urgency of its calls."""

    __slots__ = ("_window_ns", "bot", "burst_ns", "caps", "share", "spacing_ns", "theoretical_ns", "weight")

    def __init__(self, bot: str, weight: float, window_ns: int, caps: dict[Call, Cap]) -> None:
        """``window_ns``: length of the short window."""
        self._window_ns = window_ns
        self.bot = bot
        self.weight = weight
        self.caps = caps
        self.give_share(1.0, 1.0)
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

    def own_from_ns(self) -> int:
        """From when the bot's next call is within its share."""
        return self.theoretical_ns + self.spacing_ns - self.burst_ns

    def spend(self, tier: Tier, now_ns: int) -> None:
        """A call starts. Exits are not taken from the share: there is a part of every limit for them."""
        if tier is not EXIT:
            whole_ns = max(now_ns, self.theoretical_ns) + self.spacing_ns
            # However much it borrows, a window and a spacing after its last loan it has its own again.
            self.theoretical_ns = min(whole_ns, now_ns + self.burst_ns + self._window_ns)

    def unspend(self, tier: Tier) -> None:
        """A call that was to start was not sent."""
        if tier is not EXIT:
            self.theoretical_ns -= self.spacing_ns


class Flow:
    """The waiting calls of one member at one level of urgency."""

    __slots__ = ("member", "queues", "start", "step", "waiting")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.step = round(TAGS / member.weight)
        self.queues: list[dict[Permit, None]] = [{} for _ in Rank]
        """By rank, in the order in which they were asked for."""
        self.waiting = 0
        self.start = 0
        """The tag of its next call."""

    def add(self, permit: Permit) -> None:
        self.queues[permit.rank][permit] = None
        self.waiting += 1

    def remove(self, permit: Permit) -> None:
        del self.queues[permit.rank][permit]
        self.waiting -= 1

    def ahead(self, rank: int, kind: Call | None = None) -> int:
        """How many calls (of one kind) wait that are served before a new one of a rank."""
        return sum(kind in (None, permit.call) for queue in self.queues[: rank + 1] for permit in queue)

    def next(self, now_ns: int) -> Permit | None:
        """The permit to grant, of those of the most urgent rank the oldest; None if a cap holds each one back."""
        held = {call for call, cap in self.member.caps.items() if cap.allows_ns(1, now_ns) > now_ns}
        return next((permit for queue in self.queues for permit in queue if permit.call not in held), None)

    def wakes_ns(self, now_ns: int) -> int:
        """When the first cap lets a permit go, if all are held back."""
        kinds = {permit.call for queue in self.queues for permit in queue}
        return min(self.member.caps[kind].allows_ns(1, now_ns) for kind in kinds)


class FairQueue:
    """The flows of one bucket at one level of urgency."""

    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self.waiting = 0
        self._tag = 0
        self._own, self._loans = IndexedHeap[Flow](), IndexedHeap[Flow]()
        """Flows whose next call is within their share, and flows that would borrow, by tag."""
        self._due = IndexedHeap[Flow]()
        """Flows that will be within their share, or free of a cap, by the instant."""

    def flow(self, member: Member) -> Flow:
        flow = self.flows.get(member.bot)
        if flow is None:
            flow = self.flows[member.bot] = Flow(member)
        return flow

    def add(self, permit: Permit, flow: Flow, now_ns: int) -> None:
        """A call waits."""
        flow.add(permit)
        self.waiting += 1
        if flow.waiting == 1:
            flow.start = max(self._tag, flow.start)
        if flow.waiting == 1 or flow.member.caps:
            self.place(flow, now_ns)

    def remove(self, permit: Permit, flow: Flow) -> None:
        """A call waits no more."""
        flow.remove(permit)
        self.waiting -= 1
        if not flow.waiting:
            self._stand_aside(flow)

    def serve(self, flow: Flow) -> None:
        """The flow's next call starts; :meth:`place` has to follow when it is counted, if others wait."""
        self._tag = max(self._tag, flow.start)
        flow.start += flow.step

    def pass_by(self, flow: Flow) -> None:
        """A call of this flow starts without having waited, for nobody waited."""
        flow.start = max(self._tag, flow.start)
        self.serve(flow)

    def place(self, flow: Flow, now_ns: int) -> None:
        """Put a flow where it belongs now: after a service, an answer that frees a cap, a change of its share."""
        self._stand_aside(flow)
        if not flow.waiting:
            return
        if flow.member.caps and flow.next(now_ns) is None:
            self._due.place(flow, flow.wakes_ns(now_ns))
        elif (own_ns := flow.member.own_from_ns()) <= now_ns:
            self._own.place(flow, flow.start)
        else:
            self._loans.place(flow, flow.start)
            self._due.place(flow, own_ns)

    def before(self, flow: Flow, ahead: int, *, own: bool) -> int:
        """About how many calls of others start before this flow's next but so many; borrowers' do not count if that
        will be its own. Rather too few: whoever is told to wait too long is denied for nothing.
        """
        rivals = chain(self._own, () if own else self._loans)
        weight = sum(rival.member.weight for rival in rivals if rival is not flow)
        start = flow.start if flow.waiting else max(self._tag, flow.start)
        return min(self.waiting - flow.waiting, int((start - self._tag + ahead * flow.step) * weight / TAGS))

    def own(self, now_ns: int) -> Flow | None:
        """The next flow whose call is its own."""
        while (flow := self._due.first(now_ns)) is not None:
            self.place(flow, now_ns)
        return self._own.first()

    def loan(self) -> Flow | None:
        """The next flow whose call is a loan."""
        return self._loans.first()

    def wakes_ns(self) -> int:
        """When a flow will come forward by the mere passing of time."""
        return self._due.lowest()

    def _stand_aside(self, flow: Flow) -> None:
        """It is not among those whose call may be next."""
        self._own.remove(flow)
        self._loans.remove(flow)
        self._due.remove(flow)
