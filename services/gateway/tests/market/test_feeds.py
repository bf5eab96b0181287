"""What a watcher gets, when, and what becomes of one who does not take it."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.gateway.market.feeds import WATCHER_BACKLOG, WOKEN_AT_ONCE, Waker, Watch


async def test_a_watcher_gets_everything_in_order() -> None:
    watch: Watch[int] = Watch(Waker())
    watch.put(1)
    assert await watch.next() == 1
    later = asyncio.ensure_future(watch.next())
    await asyncio.sleep(0)
    for number in (2, 3, 4):
        watch.put(number)
    assert [await later, await watch.next(), await watch.next()] == [2, 3, 4]


async def test_a_watcher_who_takes_nothing_is_sent_away_once_and_keeps_nothing() -> None:
    watch: Watch[int] = Watch(Waker())
    sent_away: list[bool] = []
    watch.evict = lambda: sent_away.append(watch.fell_behind)
    for number in range(WATCHER_BACKLOG):
        watch.put(number)
    assert sent_away == []
    for number in range(3 * WATCHER_BACKLOG):
        watch.put(number)
    assert sent_away == [True]
    assert await watch.next() is None


async def test_a_crowd_is_woken_in_parts_with_others_in_between() -> None:
    waker, crowd = Waker(), 5 * WOKEN_AT_ONCE
    watches: list[Watch[int]] = [Watch(waker) for _ in range(crowd)]
    woken: list[int] = []
    for number, watch in enumerate(watches):
        watch.wait(lambda number=number: woken.append(number))
    for watch in watches:
        watch.put(7)
    assert woken == []
    seen: list[int] = []
    while len(woken) < crowd:
        await asyncio.sleep(0)  # somebody else's turn
        seen.append(len(woken))
    assert [later - earlier for earlier, later in zip([0, *seen], seen, strict=False)] == [WOKEN_AT_ONCE] * 5
    assert woken == list(range(crowd))


async def test_one_whose_waking_fails_does_not_leave_the_others_asleep() -> None:
    waker = Waker()
    failed: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["message"]))
    watches: list[Watch[int]] = [Watch(waker) for _ in range(3)]
    woken: list[int] = []
    watches[0].wait(lambda: woken.append(0))
    watches[1].wait(lambda: woken.append(1 // 0))
    watches[2].wait(lambda: woken.append(2))
    for watch in watches:
        watch.put(7)
    while len(woken) < 2:  # noqa: ASYNC110 - turns of the loop, not time
        await asyncio.sleep(0)
    assert woken == [0, 2]
    assert len(failed) == 1


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(1, 40), st.none()), max_size=60))
def test_what_is_put_is_taken_whoever_is_faster(script: list[int | None]) -> None:
    """A number puts so many, None lets the reader run for a while: nothing is lost, doubled or out of order."""

    async def play() -> list[int]:
        watch: Watch[int] = Watch(Waker())
        taken: list[int] = []

        async def read() -> None:
            while (item := await watch.next()) is not None:
                assert isinstance(item, int)
                taken.append(item)

        reader = asyncio.ensure_future(read())
        ordinal = 0
        for step in script:
            for _ in range(step or 0):
                watch.put(ordinal)
                ordinal += 1
            for _ in range(3 if step is None else 0):
                await asyncio.sleep(0)
        watch.put(None)
        await reader
        return taken

    assert asyncio.run(play()) == list(range(sum(step or 0 for step in script)))
