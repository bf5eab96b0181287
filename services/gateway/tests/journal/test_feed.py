"""The order feed as many follow it."""

from __future__ import annotations

import asyncio
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.journal.feed import EVERYBODY, Feed
from derivfleet.gateway.journal.journal import Journal

if TYPE_CHECKING:
    from derivfleet.gateway.journal.records import JournalEvent

TERMS = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")
BOTS = ("one", "two", EVERYBODY)


def order(bot: str, number: int, account: str = "demo") -> Order:
    return Order(account, f"o{number}", bot, TERMS, State.INTENDED, 5)


async def test_a_bots_reader_sleeps_through_what_others_do(tmp_path: Path) -> None:
    feed = Feed(Journal(tmp_path / "j", "JOURNAL"))
    reader = feed.follow("demo", 0, "one")
    assert await anext(reader) is None
    waiting = asyncio.ensure_future(anext(reader))
    for number in range(10):
        feed.write(order("two", number), number)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    feed.write(order("one", 10), 10)
    event = await waiting
    assert event is not None
    assert (event.position, event.order.order_id) == (11, "o10")
    await reader.aclose()


class Reading:
    """One who follows, an event at a time."""

    def __init__(self, feed: Feed, bot: str) -> None:
        self.seen: list[int] = []
        self._events = feed.follow("demo", 0, bot)
        self._next: asyncio.Task[JournalEvent | None] | None = None

    async def read(self) -> None:
        """Take the next event, if there is one."""
        self._next = self._next or asyncio.create_task(anext(self._events, None))
        for _ in range(5):
            await asyncio.sleep(0)
        if self._next.done():
            event = self._next.result()
            self.seen += [] if event is None else [event.position]
            self._next = None

    async def end(self) -> None:
        if self._next is not None:
            await self._next
        await self._events.aclose()


WRITE = st.tuples(st.sampled_from(("one", "two", "three")), st.sampled_from(("demo", "other")))
READ = st.tuples(st.sampled_from(BOTS), st.integers(1, 6))


@settings(deadline=None)
@given(st.lists(st.one_of(WRITE, READ), max_size=80), st.integers(0, 5), st.integers(1, 6), st.integers(1, 4))
def test_every_reader_sees_its_own_and_nothing_twice(
    steps: list[tuple[str, str | int]], written_before: int, recent: int, batch: int
) -> None:
    """Two bots and one for everybody, who read now and then, against the journal read once at the end."""

    async def play(journal: Journal) -> None:
        for number in range(written_before):
            journal.write(order("one", number), number)
        feed = Feed(journal, recent, batch)
        readings = {bot: Reading(feed, bot) for bot in BOTS}
        for number, (bot, what) in enumerate(steps, written_before):
            if isinstance(what, str):
                feed.write(order(bot, number, what), number)
            else:
                for _ in range(what):
                    await readings[bot].read()
        expected = [(event.position, event.order.bot) for event in journal.events("demo", 0, 10_000)]
        for bot, reading in readings.items():
            for _ in range(2 * len(expected) + 4):
                await reading.read()
            assert reading.seen == [position for position, name in expected if bot in (EVERYBODY, name)]
        feed.close()
        for reading in readings.values():
            await reading.end()

    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "j", "JOURNAL")
        asyncio.run(play(journal))
        journal.close()
