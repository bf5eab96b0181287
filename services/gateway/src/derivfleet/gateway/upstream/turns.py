"""Waiting for a turn: the schedule's shell. One timer serves everybody who waits; nobody is woken in vain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from derivfleet.gateway.core.schedule import Refusal, Ticket, TicketState
from derivfleet.gateway.journal.store import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.clock import Clock
    from derivfleet.deriv.limits import LimitsTable
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.blocks import Block
    from derivfleet.gateway.core.schedule import Rank, Schedule

__all__ = ["Turns"]

_log = structlog.get_logger()

HOPELESS_WALL_S = 0.02
"""One that floods is refused thousands of times a second. As long as nothing happens to the queue, the next refusal is
the last one a little later."""
MOST_UNWRITTEN = 10_000
"""Blocks that the journal did not take are tried again with the next; more than these are none of the last hour's."""


class Turns:
    """Turns of one account: each ends in exactly one of ``landed``, ``lost``, ``unsent``."""

    def __init__(self, schedule: Schedule, clock: Clock, write_blocks: Callable[[list[Block]], None]) -> None:
        """``write_blocks`` writes down calls about to be made; it may raise JournalError."""
        self.schedule = schedule
        self._clock = clock
        self._write_blocks = write_blocks
        self._unwritten: list[Block] = []
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}
        self._hopeless: dict[tuple[str, Call, Rank | None], tuple[int, int, Refusal]] = {}
        """Until when a refusal speaks for all calls like it, when the refused one could have started, and why not."""
        self._hopeless_ns = round(clock.fleet_s(HOPELESS_WALL_S) * 1e9)
        self._timer: asyncio.Task[None] | None = None
        self._timer_ns = 0

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return len(self._waiting)

    async def wait(self, bot: str, call: Call, deadline_ns: int | None, rank: Rank | None = None) -> Ticket | Refusal:
        """Wait for a turn; a refusal comes at once if it is sure, else at the deadline. Cancelling costs nothing."""
        ticket = self.ask(bot, call, deadline_ns, rank)
        return ticket if isinstance(ticket, Refusal) else await self.granted(ticket)

    def ask(self, bot: str, call: Call, deadline_ns: int | None, rank: Rank | None = None) -> Ticket | Refusal:
        """Join the queue, or be refused at once. A ticket is for :meth:`granted` or :meth:`give_up`."""
        now_ns = self._clock.now_ns()
        hopeless = self._hopeless.get((bot, call, rank))
        if hopeless is not None and deadline_ns is not None and now_ns < hopeless[0]:
            _, start_ns, refusal = hopeless
            if deadline_ns < start_ns:
                return Refusal(refusal.bucket, start_ns - now_ns, refusal.binding)
        ticket = self.schedule.ask(bot, call, now_ns, deadline_ns, rank)
        if isinstance(ticket, Refusal):
            self._hopeless[bot, call, rank] = now_ns + self._hopeless_ns, now_ns + ticket.wait_ns, ticket
        else:
            self._dispatch()
        return ticket

    async def granted(self, ticket: Ticket) -> Ticket | Refusal:
        """Wait for a ticket's turn; a refusal if its deadline comes first. Cancelling costs nothing."""
        if ticket.state is TicketState.WAITING:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[ticket] = future
            try:
                await future
            except asyncio.CancelledError:
                self.give_up(ticket)  # it may have been granted in this very moment
                raise
            finally:
                self._waiting.pop(ticket, None)
        if ticket.state is TicketState.EXPIRED:
            return Refusal(ticket.bucket, self._clock.now_ns() - ticket.asked_ns, ticket.binding or ticket.bucket)
        return ticket

    def landed(self, ticket: Ticket) -> None:
        """The call was answered, whatever the answer says."""
        self.schedule.landed(ticket, self._clock.now_ns())
        self._dispatch()

    def give_up(self, ticket: Ticket) -> None:
        """Unless it was made, the call will not be: nobody waits for its turn any more."""
        if ticket.state is TicketState.WAITING:
            self.schedule.cancel(ticket)
            self._dispatch()
        elif ticket.state is TicketState.GRANTED:
            self.unsent(ticket)

    def lost(self, ticket: Ticket) -> None:
        """The call was sent and will not be answered."""
        self.schedule.lost(ticket, self._clock.now_ns())
        self._dispatch()

    def unsent(self, ticket: Ticket) -> None:
        """The call was not handed to a socket."""
        self.schedule.unsent(ticket, self._clock.now_ns())
        self._dispatch()

    def adopt(self, table: LimitsTable) -> None:
        """The server has told its limits."""
        self.schedule.adopt(table)
        self._dispatch()

    def close(self) -> None:
        """Wake nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _dispatch(self) -> None:
        self._hopeless.clear()
        now_ns = self._clock.now_ns()
        ready = self.schedule.dispatch(now_ns)
        try:
            self._write(self.schedule.take_blocks())
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

    def _wake_up(self, ready: list[Ticket], now_ns: int) -> None:
        for ticket in ready:
            future = self._waiting.get(ticket)
            if future is not None and not future.done():
                future.set_result(None)
        wake_ns = self.schedule.wake_ns(now_ns)
        if wake_ns is not None and (self._timer is None or self._timer.done() or wake_ns < self._timer_ns):
            if self._timer is not None:
                self._timer.cancel()
            self._timer_ns = wake_ns
            self._timer = asyncio.create_task(self._wake(wake_ns), name="next turn")

    async def _wake(self, wake_ns: int) -> None:
        await self._clock.sleep_until_ns(wake_ns)
        self._timer = None
        self._dispatch()
