"""Admission: the shell around the quota. One timer serves everybody who waits; nobody is woken in vain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from derivfleet.gateway.core.quota import Permit, PermitDenied, PermitState
from derivfleet.gateway.journal.store import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.clock import Clock
    from derivfleet.deriv.limits import LimitsTable
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.quota import Block, Quota, Rank

__all__ = ["Admission"]

_log = structlog.get_logger()

HOPELESS_WALL_S = 0.02
"""A bot that floods is denied thousands of times a second. While nothing happens to the queue, the next denial is the
last one a little later."""
MOST_UNWRITTEN = 10_000
"""Blocks that the journal did not take are tried again with the next; more than these are none of the last hour's."""


class Admission:
    """Admission of one account's calls: each permit ends in exactly one of ``landed``, ``lost``, ``unsent``."""

    def __init__(self, quota: Quota, clock: Clock, write_blocks: Callable[[list[Block]], None]) -> None:
        """``write_blocks`` writes down calls about to be made; it may raise JournalError."""
        self.quota = quota
        self._clock = clock
        self._write_blocks = write_blocks
        self._unwritten: list[Block] = []
        self._waiting: dict[Permit, asyncio.Future[None]] = {}
        self._hopeless: dict[tuple[str, Call, Rank | None], tuple[int, int, PermitDenied]] = {}
        """Until when a denial speaks for all calls like it, when the denied one could have started, and why not."""
        self._hopeless_ns = round(clock.fleet_s(HOPELESS_WALL_S) * 1e9)
        self._timer: asyncio.Task[None] | None = None
        self._timer_ns = 0

    @property
    def waiting(self) -> int:
        """Calls that wait for their permit."""
        return len(self._waiting)

    async def wait(
        self, bot: str, call: Call, deadline_ns: int | None, rank: Rank | None = None
    ) -> Permit | PermitDenied:
        """Wait for a permit; a denial comes at once if it is sure, else at the deadline. Cancelling costs nothing."""
        permit = self.ask(bot, call, deadline_ns, rank)
        return permit if isinstance(permit, PermitDenied) else await self.granted(permit)

    def ask(self, bot: str, call: Call, deadline_ns: int | None, rank: Rank | None = None) -> Permit | PermitDenied:
        """Join the queue, or be denied at once. A permit is for :meth:`granted` or :meth:`give_up`."""
        now_ns = self._clock.now_ns()
        hopeless = self._hopeless.get((bot, call, rank))
        if hopeless is not None and deadline_ns is not None and now_ns < hopeless[0]:
            _, start_ns, denied = hopeless
            if deadline_ns < start_ns:
                return PermitDenied(denied.bucket, start_ns - now_ns, denied.binding)
        permit = self.quota.ask(bot, call, now_ns, deadline_ns, rank)
        if isinstance(permit, PermitDenied):
            self._hopeless[bot, call, rank] = now_ns + self._hopeless_ns, now_ns + permit.wait_ns, permit
        else:
            self._dispatch()
        return permit

    async def granted(self, permit: Permit) -> Permit | PermitDenied:
        """Wait until a permit is granted; denied if its deadline comes first. Cancelling costs nothing."""
        if permit.state is PermitState.WAITING:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[permit] = future
            try:
                await future
            except asyncio.CancelledError:
                self.give_up(permit)  # it may have been granted in this very moment
                raise
            finally:
                self._waiting.pop(permit, None)
        if permit.state is PermitState.EXPIRED:
            return PermitDenied(permit.bucket, self._clock.now_ns() - permit.asked_ns, permit.binding or permit.bucket)
        return permit

    def landed(self, permit: Permit) -> None:
        """The call was answered, whatever the answer says."""
        self.quota.landed(permit, self._clock.now_ns())
        self._dispatch()

    def give_up(self, permit: Permit) -> None:
        """Unless it was made, the call will not be: nobody waits for its permit any more."""
        if permit.state is PermitState.WAITING:
            self.quota.cancel(permit)
            self._dispatch()
        elif permit.state is PermitState.GRANTED:
            self.unsent(permit)

    def lost(self, permit: Permit) -> None:
        """The call was sent and will not be answered."""
        self.quota.lost(permit, self._clock.now_ns())
        self._dispatch()

    def unsent(self, permit: Permit) -> None:
        """The call was not handed to a socket."""
        self.quota.unsent(permit, self._clock.now_ns())
        self._dispatch()

    def adopt(self, table: LimitsTable) -> None:
        """The server has told its limits."""
        self.quota.adopt(table)
        self._dispatch()

    def close(self) -> None:
        """Wake nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _dispatch(self) -> None:
        self._hopeless.clear()
        now_ns = self._clock.now_ns()
        ready = self.quota.dispatch(now_ns)
        try:
            self._write(self.quota.take_blocks())
        finally:
            # Whatever has gone wrong: they have been granted, and would never be woken again.
            self._wake_up(ready, now_ns)

    def _write(self, blocks: list[Block]) -> None:
        if not blocks:
            return
        self._unwritten = [*self._unwritten[-MOST_UNWRITTEN:], *blocks]
        try:
            self._write_blocks(self._unwritten)
        except JournalError as error:
            # They are counted all the same. What must not go out without the journal, as a purchase, does not.
            _log.error("calls could not be written ahead", problem=str(error))
        else:
            self._unwritten = []

    def _wake_up(self, ready: list[Permit], now_ns: int) -> None:
        for permit in ready:
            future = self._waiting.get(permit)
            if future is not None and not future.done():
                future.set_result(None)
        wake_ns = self.quota.wake_ns(now_ns)
        if wake_ns is not None and (self._timer is None or self._timer.done() or wake_ns < self._timer_ns):
            if self._timer is not None:
                self._timer.cancel()
            self._timer_ns = wake_ns
            self._timer = asyncio.create_task(self._wake(wake_ns), name="next permit")

    async def _wake(self, wake_ns: int) -> None:
        await self._clock.sleep_until_ns(wake_ns)
        self._timer = None
        self._dispatch()
