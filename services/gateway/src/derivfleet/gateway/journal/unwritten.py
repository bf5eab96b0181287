"""Transitions that have happened and that the database has not taken yet."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import Order
    from derivfleet.gateway.journal.recent_orders import Key

__all__ = ["Unwritten"]


class Unwritten:
    """A queue of transitions, oldest first, and the newest state of each order in it."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, Order]] = deque()
        self._newest: dict[Key, Order] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, order: Order, time_ns: int) -> None:
        """Queue a transition."""
        self._entries.append((time_ns, order))
        self._newest[order.account, order.order_id] = order

    def first(self, most: int) -> list[tuple[int, Order]]:
        """The oldest transitions: when, and the order after it."""
        return list(islice(self._entries, most))

    def forget_first(self) -> None:
        """The oldest is written now."""
        _, order = self._entries.popleft()
        key = (order.account, order.order_id)
        if self._newest.get(key) == order:
            del self._newest[key]

    def get(self, account: str, order_id: str) -> Order | None:
        """The newest state of an order that has a transition here."""
        return self._newest.get((account, order_id))
