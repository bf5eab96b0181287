"""The feed over a real socket, on a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.own_token import OwnToken
from derivfleet.metrics.ingest.order_feed import OrderFeed
from derivfleet.metrics.ingest.status_poll import StatusPoll
from derivfleet.metrics.store.feed_mark import FeedMark
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import pytest
    from conftest import GatewayPeer

    from derivfleet.common.clock import ManualClock
    from derivfleet.metrics.store.store import Store
    from derivfleet.v1.orders_pb2 import OrderEvent

    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
    MakeEvent = Callable[..., OrderEvent]

START_S = 1_795_161_600


@asynccontextmanager
async def following(
    gateway: GatewayPeer, store: Store, clock: ManualClock, *, poll: bool = False
) -> AsyncGenerator[OrderFeed, None]:
    channel = open_channel(f"127.0.0.1:{gateway.port}")
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("metrics.secret")
        file.flush()
        token = OwnToken(Path(file.name), "token")
    feed = OrderFeed(channel, token, store, clock, await store.mark())
    tasks = [asyncio.create_task(feed.run())]
    if poll:
        tasks.append(asyncio.create_task(StatusPoll(channel, token, store, clock, feed).run()))
    try:
        yield feed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await channel.close(None)


async def test_the_feed_is_behind_until_it_has_seen_all_there_was(
    gateway: GatewayPeer, store: Store, clock: ManualClock, make_event: MakeEvent, eventually: Eventually
) -> None:
    gateway.events = [make_event(number, f"o{number}", time_s=START_S - 100) for number in range(1, 1_201)]
    gateway.answers.clear()
    await clock.advance(30)
    async with following(gateway, store, clock) as feed:
        assert (feed.connected, feed.lag_s(), feed.seen_to_ns()) == (False, 0.0, 0)
        await clock.advance(7)
        assert feed.lag_s() == 7.0
        gateway.answers.set()

        async def live() -> bool:
            return feed.lag_s() == 0.0

        await eventually(live)
        assert feed.seen_to_ns() == clock.now_ns()
        assert len(await store.orders("demo", limit=2_000)) == 1_200
        assert (await store.mark()).position == 1_200
        await gateway.add(make_event(1_300, "late"))

        async def kept() -> bool:
            return (await store.mark()).position == 1_300

        await eventually(kept)
    assert gateway.asked_after == [0]


async def test_a_malformed_event_is_passed_over_and_counted_for_ever(
    gateway: GatewayPeer, store: Store, clock: ManualClock, make_event: MakeEvent, eventually: Eventually
) -> None:
    gateway.events = [make_event(1, "a"), make_event(2, "b", "0.10"), make_event(3, "c")]
    gateway.events[1].order.profit = "a lot"
    async with following(gateway, store, clock) as feed:

        async def kept() -> bool:
            return (await store.mark()).position == 3 and feed.refused == 1

        await eventually(kept)
    assert {order.order_id for order in await store.orders("demo")} == {"a", "c"}
    mark = await store.mark()
    assert (mark.position, mark.refused, mark.seen_to_ns) == (3, 1, clock.now_ns())


async def test_after_an_outage_it_asks_from_where_it_was_and_waits_longer_each_time(
    gateway: GatewayPeer,
    store: Store,
    clock: ManualClock,
    make_event: MakeEvent,
    eventually: Eventually,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gateway.events = [make_event(5, "a")]
    async with following(gateway, store, clock) as feed:

        async def live() -> bool:
            return feed.connected and feed.lag_s() == 0.0

        async def cut() -> bool:
            return not feed.connected

        await eventually(live)
        await gateway.stop()
        await eventually(cut)
        assert feed.problem == "UNAVAILABLE"
        said: list[str] = []

        async def warned() -> bool:
            await clock.advance(10)
            said.append(capsys.readouterr().out)
            return "no order feed from the gateway" in said[-1]

        await eventually(warned)
        for _ in range(5):  # it is said once, however often it is tried
            await clock.advance(10)
            await asyncio.sleep(0.02)
        assert feed.lag_s() == clock.now_s() - START_S >= 50
        assert not feed.connected
        await gateway.add(make_event(6, "b"))
        await gateway.start()

        async def back() -> bool:
            await clock.advance(10)
            return await live()

        await eventually(back)
        assert feed.problem == ""
    assert gateway.asked_after == [0, 5]
    told = "".join(said) + capsys.readouterr().out
    assert told.count("no order feed from the gateway") == 1
    assert told.count("order feed connected") == 2


async def test_a_disk_that_takes_nothing_is_warned_of_once_and_waited_for_longer_each_time(
    gateway: GatewayPeer,
    store: Store,
    clock: ManualClock,
    make_event: MakeEvent,
    eventually: Eventually,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    gateway.events = [make_event(5, "a")]
    aside = sqlite3.connect(tmp_path / "unit.sqlite", isolation_level=None)
    aside.execute("CREATE TRIGGER full BEFORE INSERT ON orders BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    async with following(gateway, store, clock) as feed:

        async def tried_often() -> bool:
            await clock.advance(1)
            return len(gateway.asked_after) >= 5

        await eventually(tried_often)
        # Half a second, one, two, four, less a jitter of at most half: retries that did not wait longer take two.
        assert clock.now_s() - START_S > 3
        assert feed.lag_s() > 3
        aside.execute("DROP TRIGGER full")
        aside.close()

        async def kept() -> bool:
            await clock.advance(1)
            return (await store.mark()).position == 5

        await eventually(kept)
    said = capsys.readouterr().out
    assert said.count("no order feed from the gateway") == 1
    assert "disk is full" in said


async def test_a_quiet_feed_is_not_taken_for_a_dead_one(
    gateway: GatewayPeer, store: Store, clock: ManualClock, eventually: Eventually
) -> None:
    async with following(gateway, store, clock, poll=True) as feed:

        async def live() -> bool:
            return feed.connected and feed.lag_s() == 0.0

        await eventually(live)

        async def confirmed_later() -> bool:
            await clock.advance(5)
            return (await store.mark()).seen_to_ns >= (START_S + 15) * NS_PER_S

        await eventually(confirmed_later)
        assert await store.status("demo", clock.now_ns()) is not None
    assert gateway.asked_after == [0]


async def test_a_status_that_fails_is_said_once(
    gateway: GatewayPeer, store: Store, clock: ManualClock, eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.status_problem = True
    async with following(gateway, store, clock, poll=True) as feed:

        async def live() -> bool:
            return feed.connected

        await eventually(live)
        before = gateway.polls

        async def asked_often() -> bool:
            await clock.advance(5)
            return gateway.polls >= before + 4

        await eventually(asked_often)
    assert capsys.readouterr().out.count("no status from the gateway") == 1
    assert await store.status("demo", clock.now_ns()) is None
    assert await store.mark() == FeedMark(0, START_S * NS_PER_S)


async def test_another_journal_is_read_from_its_beginning_and_nothing_counts_twice(
    gateway: GatewayPeer, store: Store, clock: ManualClock, make_event: MakeEvent, eventually: Eventually
) -> None:
    def kept(position: int) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            return (await store.mark()).position == position

        return holds

    gateway.journal_id = "first"
    gateway.events = [make_event(number, f"o{number}") for number in range(1, 6)]
    async with following(gateway, store, clock):
        await eventually(kept(5))
    gateway.journal_id = "second"  # it knows two of the orders again, one of them not yet settled
    unsettled = make_event(1, "o1", state=orders_pb2.ORDER_STATE_CONFIRMED, settled_time_ns=0)
    gateway.events = [unsettled, make_event(2, "o2"), make_event(3, "new")]
    async with following(gateway, store, clock):
        await eventually(kept(8))
        await gateway.add(make_event(4, "newer"))
        await eventually(kept(9))
    mark = await store.mark()
    assert (mark.base, mark.journal, mark.refused) == (5, "second", 0)
    async with following(gateway, store, clock):
        await gateway.add(make_event(5, "newest"))
        await eventually(kept(10))
    assert gateway.asked_after == [0, 5, 4]
    orders = await store.orders("demo", limit=99)
    assert {order.order_id for order in orders} == {"o1", "o2", "o3", "o4", "o5", "new", "newer", "newest"}
    settled = await store.settlements("demo", 0, 0, 99)
    assert [row.position for row in settled] == [1, 2, 3, 4, 5, 8, 9, 10]
    assert sum(row.profit for row in settled) == 8 * Decimal("0.33")


async def test_what_the_journal_forgot_before_it_was_read_is_counted_as_missing(
    gateway: GatewayPeer, store: Store, clock: ManualClock, make_event: MakeEvent, eventually: Eventually
) -> None:
    gateway.journal_id = "one"
    gateway.events = [make_event(1, "a")]
    async with following(gateway, store, clock):

        async def first() -> bool:
            return (await store.mark()).position == 1

        await eventually(first)
    gateway.trimmed_to = 4
    gateway.events = [make_event(5, "e")]
    async with following(gateway, store, clock) as feed:

        async def second() -> bool:
            return (await store.mark()).position == 5 and feed.refused == 3

        await eventually(second)
