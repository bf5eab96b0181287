"""The order feed: every transition in order, from any position, then live.

Readers pull at their own pace, the newest from memory and what is older from the journal, so a slow one costs neither
memory nor anybody's time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from derivfleet.gateway.core.orders.order import Order
    from derivfleet.gateway.journal.journal import Journal
    from derivfleet.gateway.journal.records import JournalEvent

__all__ = ["Feed"]

BATCH = 500
RECENT_EVENTS = 1_000
"""Kept in memory for those who read along."""
EVERYBODY = ""


class _Reader:
    """One who follows: asleep, or with something new to read."""

    __slots__ = ("_sleep", "first")

    def __init__(self) -> None:
        self.first = 0
        """Position of the first transition for it since it read last; 0 if there is none."""
        self._sleep: asyncio.Future[None] | None = None

    def tell(self, position: int) -> None:
        self.first = self.first or position
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    async def told(self) -> None:
        if not self.first:
            self._sleep = asyncio.get_running_loop().create_future()
            await self._sleep
            self._sleep = None


class Feed:
    """The journal, with news of what was written last."""

    def __init__(self, journal: Journal, recent: int = RECENT_EVENTS, batch: int = BATCH) -> None:
        """``recent`` is how many transitions are kept in memory, ``batch`` how many a reader takes at once."""
        self.journal = journal
        self.last_position = journal.last_position
        self._batch = batch
        self._recent: deque[JournalEvent] = deque(maxlen=recent)
        self._readers: dict[str, set[_Reader]] = {}
        self._closed = False
        journal.listen(self._take)

    def write(self, order: Order, time_ns: int) -> None:
        """Write a transition down. Raises as the journal does."""
        self.journal.write(order, time_ns)

    def _take(self, event: JournalEvent) -> None:
        """A transition is in the journal: wake those readers whom it concerns."""
        self.last_position = event.position
        self._recent.append(event)
        for bot in (event.order.bot, EVERYBODY):
            for reader in self._readers.get(bot, ()):
                reader.tell(event.position)

    def close(self) -> None:
        """End every reader's stream."""
        self._closed = True
        for readers in self._readers.values():
            for reader in readers:
                reader.tell(self.last_position + 1)

    async def follow(
        self, account: str, after_position: int, bot: str = EVERYBODY
    ) -> AsyncGenerator[JournalEvent | None, None]:
        """Transitions after a position; None whenever the reader has seen all there is. ``bot`` asks for its alone.

        Raises JournalError if old ones are asked for and the database is away.
        """
        position = after_position
        reader = _Reader()
        readers = self._readers.setdefault(bot, set())
        readers.add(reader)
        try:
            while not self._closed:
                reader.first = 0
                events = self._after(account, position)
                for event in events:
                    position = event.position
                    if bot in (EVERYBODY, event.order.bot):
                        yield event
                if len(events) < self._batch:
                    yield None
                    await reader.told()
                    # What was written between was others': a thousand bots do not read all of it each.
                    position = max(position, reader.first - 1)
        finally:
            readers.discard(reader)
            if not readers:
                self._readers.pop(bot, None)

    def _after(self, account: str, position: int) -> list[JournalEvent]:
        if not self._recent or position < self._recent[0].position - 1:
            return [] if position >= self.last_position else self.journal.events(account, position, self._batch)
        found: list[JournalEvent] = []
        for event in reversed(self._recent):
            if event.position <= position:
                break
            if account in ("", event.order.account):
                found.append(event)
        found.reverse()
        return found[: self._batch]
