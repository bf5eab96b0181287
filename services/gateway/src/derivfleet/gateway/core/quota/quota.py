"""Who calls next: every call of an account asks here, waits in a bounded queue, and is granted a permit.

Pure and in virtual time: a shell asks, calls :meth:`Quota.dispatch` whenever something happened or
:meth:`Quota.wake_ns` has come, and tells what became of granted calls. Levels of urgency are strict: no ordinary
call starts while an exit waits. Among ordinary calls bots share fairly (``shares``); within a bot rank decides.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from derivfleet.gateway.core.quota.bucket import Bucket
from derivfleet.gateway.core.quota.call_log import DRIFT, NEVER_NS
from derivfleet.gateway.core.quota.indexed_heap import IndexedHeap
from derivfleet.gateway.core.quota.permits import Forecast, Permit, PermitDenied, PermitState, Rank, ShareUse, rank_of
from derivfleet.gateway.core.quota.shares import Cap
from derivfleet.gateway.core.quota.windows import EXIT, LOAN, OWN, Tier, WindowUse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from derivfleet.deriv.limits import LimitsTable
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.quota.shares import Member
    from derivfleet.gateway.core.quota.write_ahead import Block

__all__ = ["GATEWAY", "Forecast", "Permit", "PermitDenied", "PermitState", "Quota", "Rank", "ShareUse", "WindowUse"]

WAITING, GRANTED, EXPIRED, CANCELLED, DONE = PermitState
GATEWAY = "gateway"
"""The holder of the calls that the gateway makes for itself: streams, settlement, reconciling."""
QUEUE_LENGTH = 256
"""Calls of one bot that may wait in one bucket; more are refused at once."""
PATIENCE_NS = 15_000_000_000
"""How long an answer is waited for; where wall time counts, twice as long as a frame may stray at most."""
STRAY_NS = 5_000_000_000
"""How long after its answer was given up a frame may still reach Deriv."""
_wake_ns = attrgetter("wake_ns")


class Quota:
    """The calls of one account."""

    def __init__(
        self,
        table: LimitsTable,
        headroom: float,
        weights: Mapping[str, float],
        caps: Mapping[str, Mapping[Call, int]] | None = None,
        stray_ns: int = STRAY_NS,
        fastest_ns: int = 0,
        drift: float = DRIFT,
    ) -> None:
        """``caps``: bot → kind of call → how many of them it may make in any minute. ``stray_ns``: how long after its
        answer was given up a frame may still reach Deriv. ``fastest_ns``: no answer comes sooner after its call; one
        that does lowers it. ``drift``: part by which the server's clock may run slower than ours.
        """
        self.table = table
        self._headroom = headroom
        self._stray_ns = stray_ns
        self._fastest_ns = fastest_ns
        self._caps = {bot: {call: Cap(most) for call, most in kinds.items()} for bot, kinds in (caps or {}).items()}
        self._opened: list[Block] = []
        landing_ns = PATIENCE_NS + 3 * stray_ns
        self._buckets = {
            name: Bucket(name, bucket.windows, headroom, dict(weights), self._caps, landing_ns, self._opened, drift)
            for name, bucket in table.buckets.items()
        }
        self._bucket_names: dict[Call, str] = {}
        self._ready: list[Permit] = []
        self._deadlines = IndexedHeap[Permit]()
        self._wakes_ns = NEVER_NS

    def ask(
        self, bot: str, call: Call, now_ns: int, deadline_ns: int | None = None, rank: Rank | None = None
    ) -> Permit | PermitDenied:
        """Ask for a permit before a deadline; None waits as long as it takes. Denied at once if that is sure."""
        rank = (Rank.RECONCILE if bot == GATEWAY else rank_of(call)) if rank is None else rank
        name = self._bucket_of(call)
        if deadline_ns is not None and deadline_ns < now_ns:
            return PermitDenied(name, 0, "deadline")
        permit = Permit(bot, call, rank, name, now_ns, deadline_ns)
        if not name:
            permit.state, permit.granted_ns = GRANTED, now_ns
            self._ready.append(permit)
            return permit
        bucket = self._buckets[name]
        member = bucket.member(bot)
        level = bucket.level(rank)
        flow = level.flow(member)
        if not bucket.waiting and call not in member.caps:
            # The common case: nobody waits, and the call may start at once.
            tier = bucket.tier(rank, member, now_ns)
            if bucket.windows.earliest_ns(tier, now_ns, roughly=True)[0] <= now_ns:
                level.pass_by(flow)
                self._start(permit, bucket, tier, now_ns)
                return permit
        if flow.waiting >= QUEUE_LENGTH:
            wait_ns, _ = bucket.wait(member, call, rank, now_ns)
            return PermitDenied(name, wait_ns, "queue")
        if deadline_ns is not None:
            wait_ns, binding = bucket.wait(member, call, rank, now_ns)
            if now_ns + wait_ns > deadline_ns:
                self._note_wait(permit, bucket, now_ns + wait_ns)
                return PermitDenied(name, wait_ns, binding)
            self._deadlines.place(permit, deadline_ns)
            self._wakes_ns = min(self._wakes_ns, deadline_ns + 1)
        level.add(permit, flow, now_ns)
        if flow.waiting == 1 or member.caps:
            self._wake(bucket, now_ns)
        return permit

    def dispatch(self, now_ns: int) -> list[Permit]:
        """Permits granted or expired since the last time, in order. Blocks to write first: :meth:`take_blocks`."""
        if now_ns >= self._wakes_ns:
            while (permit := self._deadlines.first(now_ns - 1)) is not None:
                bucket = self._withdraw(permit, EXPIRED)
                permit.binding = bucket.binding
                self._note_wait(permit, bucket, now_ns)
                self._ready.append(permit)
            for bucket in self._buckets.values():
                if bucket.wake_ns <= now_ns:
                    self._serve(bucket, now_ns)
            self._wakes_ns = min(self._deadlines.lowest() + 1, *map(_wake_ns, self._buckets.values()))
        ready, self._ready = self._ready, []
        return ready

    def wake_ns(self, now_ns: int) -> int | None:
        """When :meth:`dispatch` has to be called again if nothing else happens; None if nothing waits for time."""
        if self._ready:
            return now_ns
        return None if self._wakes_ns >= NEVER_NS else max(now_ns, self._wakes_ns)

    def take_blocks(self) -> list[Block]:
        """Blocks of calls opened since the last time: to be written down before any granted call is sent."""
        if not self._opened:
            return []
        opened = self._opened.copy()
        self._opened.clear()
        return opened

    def restore(self, blocks: Iterable[Block], now_ns: int) -> None:
        """Count what an earlier run may have spent, and what of it may still be on its way."""
        for bucket in self._buckets.values():
            for landed_ns, calls in bucket.write_ahead.spent(blocks, now_ns + self._stray_ns):
                bucket.windows.recall(landed_ns, calls)

    def recall(self, bot: str, call: Call, now_ns: int) -> None:
        """Count a call of an earlier run in its bot's cap; its frame may still be on its way."""
        cap = self._caps.get(bot, {}).get(call)
        if cap is not None:
            cap.log.recall(now_ns + self._stray_ns, 1)

    def note(self, call: Call, now_ns: int) -> None:
        """Count a call that did not ask, as those of a login."""
        name = self._bucket_of(call)
        if name:
            bucket = self._buckets[name]
            bucket.windows.spend(EXIT)
            bucket.write_ahead.spend(now_ns)
            bucket.windows.log.lose(now_ns + self._stray_ns)
            self._wake(bucket, now_ns)

    def landed(self, permit: Permit, now_ns: int) -> None:
        """The answer to a granted call has come, whatever it says."""
        bucket = self._finish(permit)
        if bucket is not None:
            # This one's way back and the way out of the one that follows it take so long together, at least.
            self._fastest_ns = max(0, min(self._fastest_ns, now_ns - permit.granted_ns))
            bucket.windows.log.land(now_ns - self._fastest_ns)
            self._ended(permit, bucket, now_ns, now_ns)

    def lost(self, permit: Permit, now_ns: int) -> None:
        """No answer will come, and the frame may still be on its way: it is counted a while longer."""
        bucket = self._finish(permit)
        if bucket is not None:
            bucket.windows.log.lose(now_ns + self._stray_ns)
            self._ended(permit, bucket, now_ns + self._stray_ns, now_ns)

    def unsent(self, permit: Permit, now_ns: int) -> None:
        """A granted call was never handed to a socket: it is given back."""
        bucket = self._finish(permit)
        if bucket is not None:
            bucket.unstart(permit.bot, Tier(permit.tier), permit.block, permit.granted_ns)
            member = bucket.members[permit.bot]
            if permit.call in member.caps:
                member.caps[permit.call].log.unsent()
            self._place_again(bucket, member, now_ns)
            self._wake(bucket, now_ns)

    def cancel(self, permit: Permit) -> None:
        """A waiting call is not wanted any more: it costs nothing."""
        if permit.state is WAITING:
            self._withdraw(permit, CANCELLED)

    def refused_by_deriv(self, call: Call, now_ns: int) -> None:
        """Deriv counts differently than we do; make its bucket rest."""
        name = self._bucket_of(call)
        if name:
            self._buckets[name].windows.refused(now_ns)

    def adopt(self, table: LimitsTable) -> None:
        """The server has told its limits."""
        self.table = table
        for name, bucket in table.buckets.items():
            self._buckets[name].adopt(bucket.windows, self._headroom)
            self._wake(self._buckets[name], 0)

    def forecast(self, bot: str, call: Call, now_ns: int) -> Forecast:
        """For the bot's next call of a kind: how many could start now, its wait, and the window that binds."""
        name = self._bucket_of(call)
        if not name:
            return Forecast("", 1_000_000, 1_000_000, 0, "")
        bucket = self._buckets[name]
        member = bucket.member(bot)
        wait_ns, binding = bucket.wait(member, call, rank_of(call), now_ns)
        remaining = 0 if wait_ns else max(1, bucket.windows.available(now_ns))
        cap = member.caps.get(call)
        if cap is not None:
            remaining = min(remaining, max(0, cap.most - cap.log.used(0, now_ns)))
        return Forecast(name, remaining, int(member.share), wait_ns, binding)

    def use(self, now_ns: int) -> list[WindowUse]:
        """The account's windows."""
        return [use for bucket in self._buckets.values() for use in bucket.windows.use(now_ns)]

    def share_use(self, now_ns: int) -> list[ShareUse]:
        """Each bot's windows; the gateway's own calls are nobody's share."""
        return [use for bucket in self._buckets.values() for use in bucket.share_use(now_ns)]

    def waiting(self) -> dict[tuple[str, str], int]:
        """Calls that wait, by bot and bucket; bots without any are there, too."""
        return {(bot, name): count for name, bucket in self._buckets.items() for bot, count in bucket.waiting_by_bot()}

    def _wake(self, bucket: Bucket, at_ns: int) -> None:
        """Look at a bucket at an instant, or before."""
        bucket.wake_ns = min(bucket.wake_ns, at_ns)
        self._wakes_ns = min(self._wakes_ns, at_ns)

    def _serve(self, bucket: Bucket, now_ns: int) -> None:
        """Grant what may start now."""
        windows = bucket.windows
        bucket.hangs = False
        while True:
            level, flow, tier, wake_ns = bucket.first(now_ns)
            if flow is None:
                bucket.wake_ns = wake_ns
                return
            at_ns, binding = windows.earliest_ns(tier, now_ns, roughly=True)
            if at_ns > now_ns:
                bucket.hangs = at_ns >= NEVER_NS
                if tier is LOAN and (own_ns := level.wakes_ns()) < at_ns:
                    # A flow may come to be within its share before a loan is possible.
                    at_ns = min(at_ns, max(own_ns, windows.earliest_ns(OWN, now_ns, roughly=True)[0]))
                bucket.binding = binding
                bucket.wake_ns = min(wake_ns, at_ns)
                return
            permit = flow.next(now_ns)
            if permit is not None:
                self._deadlines.remove(permit)
                level.remove(permit, flow)
                level.serve(flow)
                if permit.asked_ns < now_ns:
                    permit.binding = bucket.binding
                self._start(permit, bucket, tier, now_ns)
            level.place(flow, now_ns)  # if there is no permit, a cap has come to hold back all that it waits for

    def _start(self, permit: Permit, bucket: Bucket, tier: Tier, now_ns: int) -> None:
        permit.state, permit.granted_ns, permit.tier = GRANTED, now_ns, tier
        self._note_wait(permit, bucket, now_ns)
        permit.block = bucket.start(permit.bot, tier, now_ns)
        caps = bucket.members[permit.bot].caps
        if permit.call in caps:
            caps[permit.call].log.start()
        self._ready.append(permit)

    @staticmethod
    def _note_wait(permit: Permit, bucket: Bucket, until_ns: int) -> None:
        """How long an exit has to wait, whether it starts or gives up; not if its bot's own cap may be to blame."""
        if permit.rank is Rank.EXIT and permit.call not in bucket.members[permit.bot].caps:
            bucket.windows.exits(permit.asked_ns, until_ns)

    def _finish(self, permit: Permit) -> Bucket | None:
        """Take a granted permit off the books; None if it is free or has been."""
        was_granted = permit.state is GRANTED
        permit.state = DONE
        return self._buckets.get(permit.bucket) if was_granted else None

    def _ended(self, permit: Permit, bucket: Bucket, landed_ns: int, now_ns: int) -> None:
        """It is known now when a call, and its bot's cap, will count no more."""
        member = bucket.members[permit.bot]
        if permit.call in member.caps:
            member.caps[permit.call].log.lose(landed_ns)
            self._place_again(bucket, member, now_ns)
        if bucket.hangs:
            self._wake(bucket, now_ns)

    def _place_again(self, bucket: Bucket, member: Member, now_ns: int) -> None:
        """What a bot may do next has changed, and not by the mere passing of time."""
        for level in bucket.levels:
            if member.bot in level.flows:
                level.place(level.flows[member.bot], now_ns)
                self._wake(bucket, now_ns)

    def _withdraw(self, permit: Permit, state: PermitState) -> Bucket:
        permit.state = state
        bucket = self._buckets[permit.bucket]
        level = bucket.level(permit.rank)
        level.remove(permit, level.flows[permit.bot])
        self._deadlines.remove(permit)
        self._wake(bucket, permit.asked_ns)  # who stood behind it may be able to go
        return bucket

    def _bucket_of(self, call: Call) -> str:
        name = self._bucket_names.get(call)
        if name is None:
            bucket = self.table.bucket_of(call)
            name = self._bucket_names[call] = "" if bucket is None else bucket.name
        return name
