"""The order feed: every transition in order, from any position, then live.

Readers pull at their own pace, the newest from memory and what is older from the journal, so a slow one costs neither
memory nor anybody's time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from derivfleet.gateway.journal.sqlite import JournalEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from derivfleet.gateway.core.orders import Order
    from derivfleet.gateway.journal.sqlite import Journal

__all__ = ["Feed"]

BATCH = 500
RECENT_EVENTS = 1_000
"""Kept in memory for those who read along."""
EVERYBODY = ""


class _News(asyncio.Event):
    """Wakes the readers of one bot's orders, or of everybody's; ``first`` is the position that woke them."""

    first = 0


class Feed:
    """The journal, with news of what was written last."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.last_position = journal.last_position()
        self._recent: deque[JournalEvent] = deque(maxlen=RECENT_EVENTS)
        self._news: dict[str, _News] = {}
        self._closed = False

    def write(self, order: Order, time_ns: int) -> None:
        """Write a transition down, then wake those readers whom it concerns."""
        self.last_position = self.journal.write(order, time_ns)
        self._recent.append(JournalEvent(self.last_position, time_ns, order))
        for name in (order.bot, EVERYBODY):
            news = self._news.pop(name, None)
            if news is not None:
                news.first = self.last_position
                news.set()

    def close(self) -> None:
        """End every reader's stream."""
        self._closed = True
        for news in self._news.values():
            news.set()

    async def follow(
        self, account: str, after_position: int, bot: str = EVERYBODY
    ) -> AsyncIterator[JournalEvent | None]:
        """Transitions after a position; None whenever the reader has seen all there is. ``bot`` asks for its alone."""
        position = after_position
        while not self._closed:
            news = self._news.get(bot)
            if news is None:
                news = self._news[bot] = _News()
            events = self._after(account, position)
            for event in events:
                position = event.position
                if bot in (EVERYBODY, event.order.bot):
                    yield event
            if len(events) < BATCH:
                yield None
                await news.wait()
                # What was written between was another bot's: nobody with a thousand bots reads all of it for each.
                position = max(position, news.first - 1)

    def _after(self, account: str, position: int) -> list[JournalEvent]:
        if not self._recent or position < self._recent[0].position - 1:
            return [] if position >= self.last_position else self.journal.events(account, position, BATCH)
        found: list[JournalEvent] = []
        for event in reversed(self._recent):
            if event.position <= position:
                break
            if account in ("", event.order.account):
                found.append(event)
        found.reverse()
        return found[:BATCH]
