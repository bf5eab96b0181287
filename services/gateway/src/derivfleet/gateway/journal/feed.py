"""The order feed: every transition in order, from any position, then live.

Readers pull from the journal at their own pace, so a slow one costs neither memory nor anybody's time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from derivfleet.gateway.core.orders import Order
    from derivfleet.gateway.journal.sqlite import Journal, JournalEvent

__all__ = ["Feed"]

BATCH = 500


class Feed:
    """The journal, with news of what was written last."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.last_position = journal.last_position()
        self._news = asyncio.Event()
        self._closed = False

    def write(self, order: Order, time_ns: int) -> None:
        """Write a transition down, then wake the readers."""
        self.last_position = self.journal.write(order, time_ns)
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """End every reader's stream."""
        self._closed = True
        self._news.set()

    async def follow(self, account: str, after_position: int) -> AsyncIterator[JournalEvent | None]:
        """Transitions after a position; None whenever the reader has seen all there is."""
        position = after_position
        while not self._closed:
            news = self._news
            events = self.journal.events(account, position, BATCH)
            for event in events:
                position = event.position
                yield event
            if len(events) < BATCH:
                yield None
                await news.wait()
