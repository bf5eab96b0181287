"""Waiting for a permit, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from derivfleet.common.clock import ManualClock
from derivfleet.deriv.limits import Bucket, LimitsTable, StreamCaps
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.quota import Block, Permit, PermitDenied, PermitState, Quota, Rank
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.upstream.admission import Admission

S = 10**9


class House:
    """Admission of an account of a few calls a minute, and what was written down."""

    def __init__(self, limit: int = 2) -> None:
        self.clock = ManualClock()
        self.written: list[Block] = []
        self.problem: Exception | None = None
        bucket = Bucket("trade", frozenset(), {60: limit})
        self.quota = Quota(
            LimitsTable({"trade": bucket}, "trade", frozenset(), StreamCaps()), 1.0, {"a": 1.0, "b": 1.0}
        )
        self.admission = Admission(self.quota, self.clock, self._write)

    def _write(self, blocks: list[Block]) -> None:
        if self.problem is not None:
            raise self.problem
        self.written += blocks

    def ask(self, bot: str = "a", patience_s: float | None = None, rank: Rank = Rank.EXIT) -> asyncio.Task[object]:
        deadline_ns = None if patience_s is None else self.clock.now_ns() + round(patience_s * S)
        return asyncio.create_task(self._ask(bot, deadline_ns, rank))

    async def _ask(self, bot: str, deadline_ns: int | None, rank: Rank) -> object:
        return await self.admission.wait(bot, Call.BUY, deadline_ns, rank)

    async def fill(self, calls: int = 2) -> list[Permit]:
        permits = [await self.admission.wait("a", Call.BUY, None, Rank.EXIT) for _ in range(calls)]
        return [permit for permit in permits if isinstance(permit, Permit)]

    @property
    def used(self) -> int:
        return self.quota.use(self.clock.now_ns())[0].used


async def test_a_turn_comes_at_once_while_there_is_room_and_is_written_down_first() -> None:
    house = House()
    [permit] = await house.fill(1)
    assert permit.state is PermitState.GRANTED
    assert house.written == [Block("trade", house.clock.now_ns(), 1)]


async def test_one_who_waits_is_woken_when_the_window_has_room_and_not_before() -> None:
    house = House()
    for permit in await house.fill():
        house.admission.landed(permit)
    waiting = house.ask("b")
    await house.clock.advance(59)
    assert not waiting.done()
    await house.clock.advance(2)
    permit = await waiting
    assert isinstance(permit, Permit)
    assert len(house.written) == 3


async def test_who_waits_for_an_answer_that_never_comes_is_woken_all_the_same() -> None:
    house = House()
    for permit in await house.fill():
        house.admission.lost(permit)
    waiting = house.ask()
    await house.clock.advance(64)
    assert not waiting.done()
    await house.clock.advance(2)
    assert isinstance(await waiting, Permit)


async def test_a_call_that_was_not_sent_gives_its_turn_to_who_waits() -> None:
    house = House()
    first, _ = await house.fill()
    waiting = house.ask()
    await house.clock.settle()
    house.admission.unsent(first)
    assert isinstance(await waiting, Permit)
    assert house.used == 2


async def test_at_its_deadline_a_waiter_is_refused_with_how_long_it_has_waited() -> None:
    house = House()
    for permit in await house.fill():
        house.admission.landed(permit)
    house.quota.refused_by_deriv(Call.BUY, house.clock.now_ns())
    await house.clock.advance(10)
    waiting = house.ask(patience_s=55)
    house.ask("b", patience_s=55)
    await house.clock.advance(1)
    house.quota.refused_by_deriv(Call.BUY, house.clock.now_ns())
    await house.clock.advance(55)
    denied = await waiting
    assert isinstance(denied, PermitDenied)
    assert denied.wait_ns > 55 * S
    assert house.used == 0


async def test_what_cannot_meet_its_deadline_is_refused_without_waiting() -> None:
    house = House()
    for permit in await house.fill():
        house.admission.landed(permit)
    denied = await house.admission.wait("a", Call.BUY, house.clock.now_ns() + S, Rank.EXIT)
    assert isinstance(denied, PermitDenied)
    assert denied.binding == "trade/60s"


async def test_giving_up_costs_nothing_and_lets_the_next_go() -> None:
    house = House()
    for permit in await house.fill():
        house.admission.landed(permit)
    first, second = house.ask(), house.ask()
    await house.clock.settle()
    first.cancel()
    await house.clock.advance(61)
    assert isinstance(await second, Permit)
    assert house.used == 1


async def test_giving_up_in_the_very_moment_of_the_turn_gives_it_back() -> None:
    house = House(1)
    [sent] = await house.fill(1)
    first, second = house.ask(), house.ask("b")
    await house.clock.settle()
    house.admission.unsent(sent)
    first.cancel()
    assert isinstance(await second, Permit)
    assert first.cancelled()
    assert house.used == 1


async def test_many_who_wait_share_one_timer() -> None:
    house = House()
    for permit in await house.fill():
        house.admission.landed(permit)
    before = len(asyncio.all_tasks())
    waiting = [house.ask("ab"[number % 2]) for number in range(100)]
    await house.clock.settle()
    assert len(asyncio.all_tasks()) <= before + len(waiting) + 1
    for task in waiting:
        task.cancel()
    await house.clock.settle()


async def test_calls_that_could_not_be_written_down_are_counted_and_written_down_with_the_next() -> None:
    house = House(3)
    house.problem = JournalError("no space")
    await house.fill(2)
    assert (house.used, house.written) == (2, [])
    house.problem = None
    await house.fill(1)
    assert len(house.written) == 3


async def test_a_journal_that_fails_otherwise_leaves_nobody_waiting() -> None:
    house = House()
    first, _ = await house.fill()
    waiting = house.ask()
    await house.clock.settle()
    house.problem = RuntimeError("closed")
    with pytest.raises(RuntimeError):
        house.admission.unsent(first)
    assert isinstance(await waiting, Permit)


async def test_raised_limits_wake_who_waits() -> None:
    house = House()
    await house.fill()
    waiting = house.ask()
    await house.clock.settle()
    bucket = Bucket("trade", frozenset(), {60: 5})
    house.admission.adopt(LimitsTable({"trade": bucket}, "trade", frozenset(), StreamCaps()))
    assert isinstance(await waiting, Permit)


async def test_after_the_end_nobody_is_woken() -> None:
    house = House()
    for permit in await house.fill():
        house.admission.landed(permit)
    waiting = house.ask()
    await house.clock.settle()
    house.admission.close()
    await house.clock.advance(100)
    assert not waiting.done()
    waiting.cancel()
    await house.clock.settle()
