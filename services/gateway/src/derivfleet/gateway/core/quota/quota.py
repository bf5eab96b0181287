"""Who calls next: every call of an account asks here, waits in a bounded queue, and is granted a permit.

Pure and in virtual time: a shell asks, calls :meth:`Quota.dispatch` whenever something happened or
:meth:`Quota.wake_ns` has come, and tells what became of granted calls. Levels of urgency are strict: no ordinary
call starts while an exit waits. Among ordinary calls bots share fairly (``shares``); within a bot rank decides.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING

from derivfleet.gateway.core.quota.bucket import Bucket
from derivfleet.gateway.core.quota.call_log import DRIFT, NEVER_NS
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
TIDY = 64
"""Deadlines of those who wait no more are dropped when there are more of them than this, and than of the others."""
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
        self._deadlines: list[tuple[int, int, Permit]] = []
        self._tidy_at = TIDY
        self._ordinal = 0
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
        if not level.waiting and not bucket.waiting and not (member.caps and call in member.caps):
            # The common case: nobody waits, and the call may start at once.
            tier = bucket.tier(rank, member, now_ns)
            if bucket.limits.earliest_ns(tier, now_ns, roughly=True)[0] <= now_ns:
                level.pass_by(flow)
                self._start(permit, bucket, member, tier, now_ns)
                return permit
        if flow.waiting >= QUEUE_LENGTH:
            wait_ns, _ = bucket.wait(member, call, rank, now_ns)
            return PermitDenied(name, wait_ns, "queue")
        if deadline_ns is not None:
            wait_ns, binding = bucket.wait(member, call, rank, now_ns)
            if now_ns + wait_ns > deadline_ns:
                self._note_wait(permit, bucket, now_ns + wait_ns)
                return PermitDenied(name, wait_ns, binding)
            self._ordinal += 1
            heappush(self._deadlines, (deadline_ns, self._ordinal, permit))
            if len(self._deadlines) > self._tidy_at:
                self._tidy()
            self._wakes_ns = min(self._wakes_ns, deadline_ns + 1)
        level.add(permit, flow, now_ns)
        if flow.waiting == 1 or member.caps:
            self._wake(bucket, now_ns)
        return permit

    def dispatch(self, now_ns: int) -> list[Permit]:
        """Tickets granted or expired since the last time, in order. Blocks to write first: :meth:`take_blocks`."""
        if now_ns >= self._wakes_ns:
            if self._deadlines:
                self._expire(now_ns)
            for bucket in self._buckets.values():
                if bucket.wake_ns <= now_ns:
                    self._serve(bucket, now_ns)
            wakes_ns = min(map(_wake_ns, self._buckets.values()))
            self._wakes_ns = min(wakes_ns, self._deadlines[0][0] + 1) if self._deadlines else wakes_ns
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
            for landed_ns, calls in bucket.blocks.spent(blocks, now_ns + self._stray_ns):
                bucket.limits.recall(landed_ns, calls, now_ns)

    def recall(self, bot: str, call: Call, now_ns: int) -> None:
        """Count a call of an earlier run in its bot's cap; its frame may still be on its way."""
        cap = self._caps.get(bot, {}).get(call)
        if cap is not None:
            cap.log.recall(now_ns + self._stray_ns, 1, now_ns)

    def note(self, call: Call, now_ns: int) -> None:
        """Count a call that did not ask, as those of a login."""
        name = self._bucket_of(call)
        if name:
            bucket = self._buckets[name]
            bucket.limits.spend(EXIT)
            bucket.blocks.spend(now_ns)
            bucket.limits.log.lose(now_ns + self._stray_ns)
            if bucket.hangs:
                self._wake(bucket, now_ns + self._stray_ns)

    def landed(self, permit: Permit, now_ns: int) -> None:
        """The answer to a granted call has come, whatever it says."""
        if not self._finish(permit):
            return
        bucket = self._buckets[permit.bucket]
        member = bucket.members[permit.bot]
        if now_ns - permit.granted_ns < self._fastest_ns:
            self._fastest_ns = max(0, now_ns - permit.granted_ns)
        # This one's way back and the way out of the one that follows it take so long together, at least.
        bucket.limits.log.land(now_ns - self._fastest_ns)
        if member.caps:
            self._free_cap(permit, bucket, member, now_ns, now_ns)
        if bucket.hangs:
            self._wake(bucket, now_ns)  # nobody could tell before when this call will count no more

    def lost(self, permit: Permit, now_ns: int) -> None:
        """No answer will come, and the frame may still be on its way: it is counted a while longer."""
        if not self._finish(permit):
            return
        bucket = self._buckets[permit.bucket]
        member = bucket.members[permit.bot]
        until_ns = now_ns + self._stray_ns
        bucket.limits.log.lose(until_ns)
        if member.caps:
            self._free_cap(permit, bucket, member, now_ns, until_ns)
        if bucket.hangs:
            self._wake(bucket, until_ns)

    def unsent(self, permit: Permit, now_ns: int) -> None:
        """A granted call was never handed to a socket: it is given back."""
        if not self._finish(permit):
            return
        bucket = self._buckets[permit.bucket]
        member = bucket.members[permit.bot]
        bucket.limits.unspend(Tier(permit.tier))
        bucket.blocks.give_back(permit.block)
        member.unspend(Tier(permit.tier))
        bucket.starts.remove(permit.bot, permit.granted_ns)
        cap = member.caps.get(permit.call)
        if cap is not None:
            cap.log.unsent()
        self._place_again(bucket, member, now_ns)
        if bucket.waiting:
            self._wake(bucket, now_ns)

    def cancel(self, permit: Permit) -> None:
        """A waiting call is not wanted any more: it costs nothing."""
        if permit.state is WAITING:
            self._withdraw(permit)
            permit.state = CANCELLED

    def refused_by_deriv(self, call: Call, now_ns: int) -> None:
        """Deriv counts differently than we do; make its bucket rest."""
        name = self._bucket_of(call)
        if name:
            self._buckets[name].limits.refused(now_ns)

    def adopt(self, table: LimitsTable) -> None:
        """The server has told its limits."""
        self.table = table
        for name, bucket in table.buckets.items():
            self._buckets[name].adopt(bucket.windows, self._headroom)
            if self._buckets[name].waiting:
                self._wake(self._buckets[name], 0)

    def forecast(self, bot: str, call: Call, now_ns: int) -> Forecast:
        """For the bot's next call of a kind: how many could start now, its wait, and the window that binds."""
        name = self._bucket_of(call)
        if not name:
            return Forecast("", 1_000_000, 1_000_000, 0, "")
        bucket = self._buckets[name]
        member = bucket.member(bot)
        wait_ns, binding = bucket.wait(member, call, rank_of(call), now_ns)
        remaining = 0 if wait_ns else max(1, bucket.limits.available(now_ns))
        cap = member.caps.get(call)
        if cap is not None:
            remaining = min(remaining, max(0, cap.most - cap.log.used(0, now_ns)))
        return Forecast(name, remaining, int(member.share), wait_ns, binding)

    def use(self, now_ns: int) -> list[WindowUse]:
        """The account's windows."""
        return [use for bucket in self._buckets.values() for use in bucket.limits.use(now_ns)]

    def share_use(self, now_ns: int) -> list[ShareUse]:
        """Each bot's windows; the gateway's own calls are nobody's share."""
        return [use for bucket in self._buckets.values() for use in bucket.share_use(now_ns)]

    def waiting(self) -> dict[tuple[str, str], int]:
        """Calls that wait, by bot and bucket; bots without any are there, too."""
        return {(bot, name): count for name, bucket in self._buckets.items() for bot, count in bucket.waiting_by_bot()}

    def _expire(self, now_ns: int) -> None:
        """Withdraw those whose deadline has passed."""
        deadlines = self._deadlines
        while deadlines and (deadlines[0][0] < now_ns or deadlines[0][2].state is not WAITING):
            permit = heappop(deadlines)[2]
            if permit.state is WAITING:
                self._withdraw(permit)
                permit.state = EXPIRED
                bucket = self._buckets[permit.bucket]
                permit.binding = bucket.binding
                self._note_wait(permit, bucket, now_ns)
                self._ready.append(permit)

    def _tidy(self) -> None:
        """Forget the deadlines of those who wait no more."""
        self._deadlines = [entry for entry in self._deadlines if entry[2].state is WAITING]
        heapify(self._deadlines)
        self._tidy_at = 2 * len(self._deadlines) + TIDY

    def _wake(self, bucket: Bucket, at_ns: int) -> None:
        """Look at a bucket at an instant, or before."""
        bucket.wake_ns = min(bucket.wake_ns, at_ns)
        self._wakes_ns = min(self._wakes_ns, at_ns)

    def _serve(self, bucket: Bucket, now_ns: int) -> None:
        """Grant what may start now."""
        limits = bucket.limits
        bucket.hangs = False
        while True:
            level, flow, tier, wake_ns = bucket.first(now_ns)
            if flow is None:
                bucket.wake_ns = wake_ns
                return
            at_ns, binding = limits.earliest_ns(tier, now_ns, roughly=True)
            if at_ns > now_ns:
                if at_ns >= NEVER_NS:
                    bucket.hangs, at_ns = True, limits.log.expected_ns()
                if tier is LOAN and (own_ns := level.wakes_ns()) < at_ns:
                    # A flow may come to be within its share before a loan is possible.
                    at_ns = min(at_ns, max(own_ns, limits.earliest_ns(OWN, now_ns, roughly=True)[0]))
                bucket.binding = binding
                bucket.wake_ns = min(wake_ns, at_ns)
                return
            permit = flow.next(now_ns)
            if permit is None:
                level.again(flow, now_ns)  # since it stood here a cap has come to hold back all that it waits for
                continue
            level.serve(permit, flow)
            if permit.asked_ns < now_ns:
                permit.binding = bucket.binding
            self._start(permit, bucket, flow.member, tier, now_ns)
            level.again(flow, now_ns)

    def _start(self, permit: Permit, bucket: Bucket, member: Member, tier: Tier, now_ns: int) -> None:
        permit.state, permit.granted_ns, permit.tier = GRANTED, now_ns, tier
        bucket.limits.spend(tier)
        if permit.rank is Rank.EXIT:
            self._note_wait(permit, bucket, now_ns)
        permit.block = bucket.blocks.spend(now_ns)
        bucket.starts.add(permit.bot, now_ns)
        member.spend(tier, now_ns)
        if member.caps and permit.call in member.caps:
            member.caps[permit.call].log.start()
        self._ready.append(permit)

    @staticmethod
    def _note_wait(permit: Permit, bucket: Bucket, until_ns: int) -> None:
        """How long an exit has to wait, whether it starts or gives up; not if its bot's own cap may be to blame."""
        if permit.rank is Rank.EXIT and permit.call not in bucket.members[permit.bot].caps:
            bucket.limits.exits(permit.asked_ns, until_ns)

    def _finish(self, permit: Permit) -> bool:
        """Take a granted permit off the books; False if it is free or has been."""
        was_granted = permit.state is GRANTED and permit.bucket != ""
        permit.state = DONE
        return was_granted

    def _free_cap(self, permit: Permit, bucket: Bucket, member: Member, now_ns: int, landed_ns: int) -> None:
        cap = member.caps.get(permit.call)
        if cap is None:
            return
        if landed_ns > now_ns:
            cap.log.lose(landed_ns)
        else:
            cap.log.land(landed_ns)
        self._place_again(bucket, member, now_ns)  # the cap knows now when it lets the next call go

    def _place_again(self, bucket: Bucket, member: Member, now_ns: int) -> None:
        """What a bot may do next has changed, and not by the mere passing of time."""
        for level in bucket.levels:
            flow = level.flows.get(member.bot)
            if flow is not None and flow.waiting:
                level.again(flow, now_ns)
                self._wake(bucket, now_ns)

    def _withdraw(self, permit: Permit) -> None:
        bucket = self._buckets[permit.bucket]
        level = bucket.level(permit.rank)
        level.remove(permit, level.flows[permit.bot])
        self._wake(bucket, permit.asked_ns)  # who stood behind it may be able to go

    def _bucket_of(self, call: Call) -> str:
        name = self._bucket_names.get(call)
        if name is None:
            bucket = self.table.bucket_of(call)
            name = self._bucket_names[call] = "" if bucket is None else bucket.name
        return name
